// Bundles the wallet code (viem and our own client/) into one file that the pages load; run by scripts/setup.py.
"use strict";
require("esbuild").buildSync({
  entryPoints: ["backend/web/client/wallet.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "eof",
  outfile: "backend/web/static/vendor/wallet.js",
});
