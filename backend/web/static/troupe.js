// What makes the pages livelier; without it they can still be read. No markup is made from data by string.
"use strict";

(() => {
  const reader = navigator.language;

  /** Times in the reader's zone; the title keeps UTC. Relative words only under a day. */
  function localTimes(root) {
    const now = Date.now();
    for (const node of root.querySelectorAll("time[datetime]:not([data-local])")) {
      node.dataset.local = "";
      if ("day" in node.dataset) {
        const day = new Date(`${node.dateTime}T00:00:00Z`);
        node.textContent = new Intl.DateTimeFormat(reader, { dateStyle: "medium", timeZone: "UTC" }).format(day);
        continue;
      }
      const time = new Date(node.dateTime);
      const age = (now - time) / 1000;
      if (age >= 0 && age < 86400) {
        const words = new Intl.RelativeTimeFormat(reader, { numeric: "auto" });
        const text = age < 60 ? words.format(0, "minute")
          : age < 3600 ? words.format(-Math.floor(age / 60), "minute")
          : words.format(-Math.floor(age / 3600), "hour");
        node.textContent = text;
      } else {
        node.textContent = new Intl.DateTimeFormat(reader, { dateStyle: "medium", timeStyle: "short" }).format(time);
      }
    }
  }

  /** The reader's own separators in figures; the digits themselves come from the server. */
  function localNumbers(root) {
    const parts = new Intl.NumberFormat(reader).formatToParts(1234567.5);
    const group = parts.find((part) => part.type === "group")?.value ?? "";
    const decimal = parts.find((part) => part.type === "decimal")?.value ?? ".";
    if (group === "," && decimal === ".") return;
    const swap = (text) => text.replace(/[,.]/g, (sign) => (sign === "," ? group : decimal));
    for (const node of root.querySelectorAll(".figure:not([data-local])")) {
      node.dataset.local = "";
      const number = node.querySelector(".number");
      number.textContent = swap(number.textContent);
      node.dataset.exact = swap(node.dataset.exact);
      node.title = node.dataset.exact;
    }
  }

  document.addEventListener("click", async (event) => {
    const figure = event.target.closest(".figure");
    if (figure) {
      const open = figure.getAttribute("aria-expanded") === "true";
      const number = figure.querySelector(".number");
      figure.dataset.short ??= number.textContent;
      const exact = figure.dataset.exact;
      number.textContent = open ? figure.dataset.short : exact.slice(0, exact.lastIndexOf(" "));
      figure.setAttribute("aria-expanded", String(!open));
      return;
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await navigator.clipboard.writeText(copy.dataset.copy);
      const said = copy.querySelector(".said");
      said.textContent = "copied";
      setTimeout(() => { said.textContent = ""; }, 1500);
    }
  });

  // --- charts: one row a source, the same scale, from zero, labelled in place -----------------------------------------

  const DAY = 86400;
  const charts = new Set();

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function drawTrack(node) {
    const track = JSON.parse(node.dataset.track);
    const start = Date.parse(`${track.days[0]}T00:00:00Z`) / 1000;
    const times = track.values.map((_, index) => start + index * DAY);
    const last = node.classList.contains("last");
    /** Days to name below: some 80 px apart, none so near an edge that its name would be cut off. */
    const days = (plot) => {
      const each = plot.bbox.width / devicePixelRatio / times.length;
      const step = Math.max(1, Math.ceil(80 / each));
      const room = (index) => Math.min(index + 0.5, times.length - index - 0.5) * each > 24;
      return times.filter((_, index) => index % step === Math.floor(step / 2) && room(index));
    };
    const readout = node.closest(".tracks").querySelector(".readout");
    const dayWords = new Intl.DateTimeFormat(reader, { dateStyle: "medium", timeZone: "UTC" });
    const tickWords = new Intl.DateTimeFormat(reader, { month: "short", day: "numeric", timeZone: "UTC" });
    const marks = track.marks.map(([day, words]) => [Date.parse(`${day}T00:00:00Z`) / 1000, words]);
    const ink = colour("--muted");
    const options = {
      width: node.clientWidth,
      height: node.clientHeight,
      padding: [20, 0, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "earnings", setSeries: false }, points: { show: false }, drag: { x: false, y: false }, y: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      scales: { x: { time: true, range: [times[0] - DAY / 2, times[times.length - 1] + DAY / 2] }, y: { range: [0, track.top * 1.02 || 1] } },
      axes: [
        { show: last, stroke: ink, grid: { show: false }, ticks: { show: false }, size: 24, gap: 4, splits: (plot) => days(plot),
          font: `12px ${colour("--sans")}`, values: (_, ticks) => ticks.map((tick) => tickWords.format(tick * 1000)) },
        { show: false },
      ],
      series: [{}, {
        fill: colour("--accent"), stroke: colour("--accent"), width: 0,
        paths: uPlot.paths.bars({ size: [0.72, 20, 1], radius: 0.12 }), points: { show: false },
      }],
      hooks: {
        draw: [(plot) => {
          const { ctx, bbox } = plot;
          ctx.save();
          ctx.strokeStyle = colour("--line");
          ctx.beginPath();
          ctx.moveTo(bbox.left, bbox.top + bbox.height);
          ctx.lineTo(bbox.left + bbox.width, bbox.top + bbox.height);
          ctx.stroke();
          ctx.strokeStyle = ink;
          ctx.setLineDash([4, 4]);
          ctx.font = `${12 * devicePixelRatio}px ${colour("--sans")}`;
          ctx.fillStyle = ink;
          ctx.textBaseline = "bottom";
          const taken = [];
          for (const [time, words] of marks) {
            const x = plot.valToPos(time - DAY / 2, "x", true);
            ctx.beginPath();
            ctx.moveTo(x, bbox.top);
            ctx.lineTo(x, bbox.top + bbox.height);
            ctx.stroke();
            if (!track.noted) continue;
            ctx.textAlign = x < bbox.left + bbox.width / 2 ? "start" : "end";
            ctx.fillText(words, x, bbox.top - 2 * devicePixelRatio);
            const size = ctx.measureText(words).width;
            taken.push(ctx.textAlign === "start" ? [x, x + size] : [x - size, x]);
          }
          const highest = track.values.indexOf(Math.max(...track.values));
          if (track.values[highest] === track.top) {
            const x = plot.valToPos(times[highest], "x", true);
            const wide = ctx.measureText(track.topText).width / 2;
            ctx.textAlign = "center";
            const inside = Math.min(Math.max(x, bbox.left + wide), bbox.left + bbox.width - wide);
            if (!taken.some(([from, to]) => inside + wide > from && inside - wide < to)) {
              ctx.fillText(track.topText, inside, plot.valToPos(track.top, "y", true) - 2 * devicePixelRatio);
            }
          }
          ctx.restore();
        }],
        setCursor: [(plot) => {
          const index = plot.cursor.idx;
          if (index == null || plot.cursor.left < 0 || !plot.root.matches(":hover")) return;
          const day = new Date(times[index] * 1000);
          const amount = track.texts[day.toISOString().slice(0, 10)];
          const note = marks.filter(([time]) => time === times[index]).map(([, words]) => `, ${words}`).join("");
          readout.textContent = `${dayWords.format(day)}: ${amount ?? "nothing"} from ${track.name.toLowerCase()}${note}`;
        }],
      },
    };
    const plot = new uPlot(options, [times, track.values], node);
    charts.add(plot);
    return plot;
  }

  /** An effect over time with its interval; the line of no effect, and what would be worth finding. */
  function drawBand(node) {
    const band = JSON.parse(node.dataset.band);
    const readout = node.closest(".tracks").querySelector(".readout");
    const dayWords = new Intl.DateTimeFormat(reader, { dateStyle: "medium", timeZone: "UTC" });
    const tickWords = new Intl.DateTimeFormat(reader, { month: "short", day: "numeric", timeZone: "UTC" });
    const number = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
    const newest = band.times.length - 1;
    const reach = 1.15 * Math.max(2 * band.worth, Math.abs(band.low[newest]), Math.abs(band.high[newest]),
      ...band.difference.map(Math.abs));
    const [ink, accent] = [colour("--muted"), colour("--accent")];
    // named in place: none, the effect now, and what would be worth finding where there is room for it
    const effect = band.difference[newest];
    const apart = (one, other) => Math.abs(one - other) > reach / 6;
    const levels = [0, ...(apart(effect, 0) ? [effect] : [])];
    for (const level of [band.worth, -band.worth]) if (levels.every((other) => apart(level, other))) levels.push(level);
    levels.sort((one, other) => one - other);
    const options = {
      width: node.clientWidth,
      height: node.clientHeight,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { points: { show: false }, drag: { x: false, y: false }, y: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      scales: { x: { time: true, range: [band.times[0] - DAY / 2, band.times[newest] + DAY / 2] }, y: { range: [-reach, reach] } },
      axes: [
        { stroke: ink, grid: { show: false }, ticks: { show: false }, size: 24, gap: 4, space: 80,
          font: `12px ${colour("--sans")}`, values: (_, ticks) => ticks.map((tick) => tickWords.format(tick * 1000)) },
        { stroke: ink, grid: { show: false }, ticks: { show: false }, size: 64, gap: 4, font: `12px ${colour("--sans")}`,
          splits: () => levels, values: (_, ticks) => ticks.map((tick) => (tick ? number(tick) : "0")) },
      ],
      series: [
        {},
        { stroke: "transparent", points: { show: false } },
        { stroke: "transparent", points: { show: false } },
        { stroke: accent, width: 2, points: { show: newest === 0, size: 8, fill: accent } },
      ],
      bands: [{ series: [2, 1], fill: `color-mix(in srgb, ${accent} 22%, transparent)` }],
      hooks: {
        drawAxes: [(plot) => {
          const { ctx, bbox } = plot;
          ctx.save();
          for (const [level, dash] of [[0, []], [band.worth, [4, 4]], [-band.worth, [4, 4]]]) {
            const y = plot.valToPos(level, "y", true);
            ctx.strokeStyle = level === 0 ? ink : colour("--line");
            ctx.setLineDash(dash);
            ctx.beginPath();
            ctx.moveTo(bbox.left, y);
            ctx.lineTo(bbox.left + bbox.width, y);
            ctx.stroke();
          }
          ctx.restore();
        }],
        setCursor: [(plot) => {
          const index = plot.cursor.idx;
          if (index == null || plot.cursor.left < 0 || !plot.root.matches(":hover")) return;
          readout.textContent = `${dayWords.format(band.times[index] * 1000)}: ${number(band.difference[index])}`
            + ` (${number(band.low[index])} to ${number(band.high[index])})`;
        }],
      },
    };
    const plot = new uPlot(options, [band.times, band.low, band.high, band.difference], node);
    charts.add(plot);
  }

  function drawAll(root) {
    if (typeof uPlot === "undefined") return;
    for (const node of root.querySelectorAll("[data-band]:not([data-drawn])")) {
      node.dataset.drawn = "";
      drawBand(node);
    }
    for (const node of root.querySelectorAll("[data-track]:not([data-drawn])")) {
      node.dataset.drawn = "";
      drawTrack(node);
    }
  }

  function redraw() {
    for (const plot of charts) plot.destroy();
    charts.clear();
    for (const node of document.querySelectorAll("[data-drawn]")) delete node.dataset.drawn;
    drawAll(document);
  }

  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) {
      width = window.innerWidth;
      redraw();
    }
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  /** A night is where the reader is, unless they said another place. */
  function ownZone(root) {
    for (const field of root.querySelectorAll("[data-zone]")) {
      if (!field.value) field.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    }
  }

  /** When what had the focus is gone with the exchange, the line that says what was done has it. */
  function keepFocus() {
    if (document.activeElement === document.body) document.getElementById("slate-said")?.focus({ preventScroll: true });
  }

  /** Under each picture of a card lies a drawn one: a picture that could not be had makes room for it. */
  function dropBroken(image) {
    if (image.matches?.(".poster img")) image.remove();
  }
  document.addEventListener("error", (event) => dropBroken(event.target), true);

  function enliven(root) {
    for (const image of root.querySelectorAll(".poster img")) if (image.complete && !image.naturalWidth) dropBroken(image);
    ownZone(root);
    localTimes(root);
    localNumbers(root);
    drawAll(root);
  }

  for (const name of ["htmx:after:swap", "htmx:afterSwap", "htmx:after:settle"]) {
    document.addEventListener(name, () => { enliven(document); keepFocus(); });
  }
  enliven(document);

  /** What a page shows is looked at again when the server tells of a change; without it, the page can be read as it is. */
  const followed = document.querySelector("[data-live]")?.dataset.live;
  if (followed) {
    const stream = new EventSource(`/v1/live?topic=${encodeURIComponent(followed)}`);
    const again = () => document.dispatchEvent(new CustomEvent("troupe-seen"));
    for (const name of ["payouts", "undo", "reset"]) stream.addEventListener(name, again);
  }
})();
