#!/usr/bin/env node
// The npm compiler behind the two flags that py-solc-x uses. Installed by scripts/setup.py as solc-v0.8.30.
// Every call is logged to TROUPE_COMPILER_LOG, so that "nothing was compiled" can be shown and not only said;
// outputs are cached by the hash of everything that went in.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");

const root = process.env.TROUPE_ROOT || process.cwd();
const modules = path.join(root, "node_modules");

function log(line) {
  const file = process.env.TROUPE_COMPILER_LOG;
  if (file) fs.appendFileSync(file, `${new Date().toISOString()} solc ${line}\n`);
}

function readImport(name) {
  for (const base of [process.cwd(), root, modules]) {
    const file = path.resolve(base, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
  }
  return { error: `${name} is neither in the project nor in node_modules: run make setup` };
}

const args = process.argv.slice(2);
if (args.includes("--version")) {
  // Loading the compiler takes a second and py-solc-x asks often, so the answer is kept beside this file.
  const packageVersion = require(path.join(modules, "solc", "package.json")).version;
  const known = path.join(__dirname, `version-${packageVersion}`);
  if (!fs.existsSync(known)) {
    fs.writeFileSync(known, require(path.join(modules, "solc")).version().replace(".Emscripten.clang", ".Linux.g++"));
  }
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${fs.readFileSync(known, "utf8")}\n`);
  process.exit(0);
}
if (!args.includes("--standard-json")) {
  process.stderr.write(`this wrapper answers --version and --standard-json, not: ${args.join(" ")}\n`);
  process.exit(2);
}

const input = fs.readFileSync(0, "utf8");
const lock = fs.readFileSync(path.join(root, "package-lock.json"));
const key = crypto.createHash("sha256").update(input).update(lock).digest("hex");
const cacheDir = process.env.TROUPE_COMPILER_CACHE;
const cached = cacheDir && path.join(cacheDir, `${key}.json`);
if (cached && fs.existsSync(cached)) {
  log(`cached ${key.slice(0, 12)}`);
  process.stdout.write(fs.readFileSync(cached));
} else {
  const started = Date.now();
  const solc = require(path.join(modules, "solc"));
  const output = solc.compile(input, { import: readImport });
  log(`compiled ${key.slice(0, 12)} ${Object.keys(JSON.parse(input).sources).length} sources ${Date.now() - started} ms`);
  if (cached && !JSON.parse(output).errors?.some((e) => e.severity === "error")) {
    fs.mkdirSync(cacheDir, { recursive: true });
    fs.writeFileSync(`${cached}.${process.pid}`, output);
    fs.renameSync(`${cached}.${process.pid}`, cached);
  }
  process.stdout.write(output);
}
