"use strict";
// Sorting, filtering and plots of the report. Text from run folders comes into the page by
// textContent, or escaped where Plotly would read it as markup.
(() => {
  const find = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const data = JSON.parse(one("data").textContent);
  const BEST = 20, DOTS = 40, BANDS = 6, MISSING = 1e9;
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon"];

  // ---- the table

  const body = one("table").tBodies[0], rows = [...body.rows], headers = find("th", one("table").tHead);
  const texts = rows.map((row) => row.textContent.toLowerCase());

  const order = (column, ascending) => {
    const keyed = rows.map((row) => {
      const { sort: text, apart } = row.cells[column].dataset;
      return { row, text, rank: text === "" || text === "nan" ? MISSING : +(apart ?? 0), number: Number(text) };
    });
    const sign = ascending ? 1 : -1, collator = new Intl.Collator("en", { numeric: true });
    keyed.sort((a, b) => {
      if (a.rank !== b.rank || a.rank === MISSING) return a.rank - b.rank;
      const numbers = !Number.isNaN(a.number) - !Number.isNaN(b.number);
      if (numbers) return -numbers;
      return sign * (Number.isNaN(a.number) ? collator.compare(a.text, b.text) : a.number - b.number);
    });
    body.append(...keyed.map((k) => k.row));
  };

  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const figures = /^(test|validation|over seeds)$/.test(header.textContent.trim());
      const before = header.getAttribute("aria-sort");
      const ascending = before ? before !== "ascending" : !figures;
      headers.forEach((h) => h.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      order(column, ascending);
    });
  });

  const filter = () => {
    const words = one("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = find("select[data-fact]").filter((s) => s.value);
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].includes(word)) ||
        !chosen.every((s) => row.dataset[s.dataset.fact] === s.value);
    });
    const left = rows.filter((row) => !row.hidden).length;
    one("count").textContent = `${left} of ${rows.length} runs`;
    drawSoon();
  };
  const shown = () => rows.filter((row) => !row.hidden).map((row) => +row.dataset.run).sort((a, b) => a - b);
  const chosen = () => new Set(find("tr.chosen", body).map((row) => +row.dataset.run));

  one("filters").addEventListener("input", filter);
  one("filters").addEventListener("reset", () => setTimeout(filter));
  one("filters").addEventListener("submit", (event) => event.preventDefault());
  body.addEventListener("change", (event) => {
    event.target.closest("tr").classList.toggle("chosen", event.target.checked);
    drawSoon();
  });

  // ---- a run's section

  const open = () => {
    const section = /^#run-\d+$/.test(location.hash) && one(location.hash.slice(1));
    if (section) {
      section.open = true;
      section.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#run-']");
    if (link && link.hash === location.hash) open();
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  const copy = async (button) => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch { // a browser that does not let a page from disk do so
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand("copy") ? "copied" : "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  };

  // ---- the matrices: one cell of each can be reached by tab, the others from there by arrows

  for (const table of find(".matrix")) {
    const said = table.parentElement.nextElementSibling;
    const cells = find("td[title]", table);
    cells.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
    const say = (event) => {
      const cell = event.target.closest("td[title]");
      if (cell) said.textContent = cell.title;
    };
    table.addEventListener("pointerover", say);
    table.addEventListener("focusin", say);
    table.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const cell = event.target.closest("td[title]");
      if (!step || !cell) return;
      event.preventDefault();
      let row = cell.parentElement.rowIndex, column = cell.cellIndex, next;
      do { // over the diagonal
        row += step[0]; column += step[1];
        next = row > 0 && column > 0 ? table.rows[row]?.cells[column] : null;
      } while (next && !next.title);
      if (!next) return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  // ---- plots

  const plots = find(".plot");
  if (!plots.length) return open();

  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const factor = ({ percent }) => (percent ? 100 : 1);
  const written = (headline, [mean, ci95]) => {
    const { percent, digits } = headline, by = factor(headline);
    const interval = ci95 === null ? "" : ` ± ${(by * ci95).toFixed(digits)}`;
    return `${(by * mean).toFixed(digits)}${interval}${percent ? " %" : ""}`;
  };
  const titled = ({ title, percent }) => escaped(title) + (percent ? " (%)" : "");
  const judged = (place) => data.headlines[place.dataset.headline];
  const judgedSo = (place, runs) => runs.filter((r) => data.runs[r].headline === +place.dataset.headline);
  const column = (curve, name) => (curve && Object.hasOwn(curve, name) ? curve[name] : null);

  const keys = one("colour");
  data.keys.forEach((title, i) => keys.add(new Option(title, i)));
  if (data.runs.length <= 14) keys.add(new Option("run", "run"));
  keys.add(new Option("nothing", "none"));
  const values = data.keys.map((_, i) => [...new Set(data.runs.map((r) => r.groups[i]))]);
  const styleOf = (run) => { // index of a colour and symbol
    const by = keys.value;
    return by === "none" ? 0 : by === "run" ? run : values[by].indexOf(data.runs[run].groups[by]);
  };
  const inked = (index) => colour(`c${index % 7}`);
  const symbol = (index) => SYMBOLS[index % 7] + (index >= 7 ? "-open" : "");
  const dash = (index) => (index >= 7 ? "dash" : "solid");

  const layout = (more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, autosize: true,
    font: { family: "system-ui, Helvetica, Arial, sans-serif", size: 13, color: colour("ink") },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") }, align: "left", namelength: -1 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink") },
    hovermode: "closest", dragmode: "zoom", ...more,
  });
  const axis = (more) => ({
    gridcolor: colour("line"), linecolor: colour("quiet"), zeroline: false, ticks: "outside",
    tickcolor: colour("quiet"), automargin: true,
    exponentformat: "e", ...more, // a raised exponent would need a style attribute
  });
  // An interval over two seeds can be wider than what there is.
  const possible = ({ percent, higher }, low) =>
    (percent ? { minallowed: -1, maxallowed: 101 } : !higher && low >= 0 ? { minallowed: 0 } : {});
  const config = {
    displaylogo: false, responsive: true,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    toImageButtonOptions: { format: "svg", filename: "metarun" },
  };

  const dots = (place, runs, picked) => {
    const headline = judged(place), by = factor(headline), worth = ([mean]) => (headline.higher ? mean : -mean);
    const mine = new Set(judgedSo(place, runs).filter((r) => data.runs[r].test));
    const lines = [];
    const grouped = new Set();
    for (const seeds of data.seeds) {
      const inside = seeds.runs.filter((r) => mine.has(r));
      if (!inside.length) continue;
      inside.forEach((r) => grouped.add(r));
      lines.push({ label: seeds.label, test: inside.length === seeds.runs.length ? seeds.test : null, runs: inside });
    }
    for (const r of mine) if (!grouped.has(r)) lines.push({ label: data.runs[r].label, test: null, runs: [r] });
    const best = (line) => (line.test ? worth(line.test) : Math.max(...line.runs.map((r) => worth(data.runs[r].test))));
    lines.sort((a, b) => best(b) - best(a));
    const all = lines.length;
    lines.splice(DOTS);
    place.hidden = !lines.length;
    if (!lines.length) return { all, drawn: 0, seeds: false };

    const traces = new Map();
    const add = (index, kind, x, y, error, said, faint) => {
      const key = `${index} ${kind} ${faint}`;
      if (!traces.has(key)) {
        const big = kind === "seeds", light = faint ? 0.25 : kind === "one of" ? 0.6 : 1;
        traces.set(key, {
          type: "scatter", mode: "markers", x: [], y: [], text: [], opacity: light,
          hovertemplate: "%{text}<extra></extra>",
          marker: { color: inked(index), size: big ? 11 : kind === "one of" ? 6 : 9, symbol: big ? "diamond" : symbol(index) },
          error_x: { type: "data", array: [], color: inked(index), thickness: big ? 2.5 : kind === "one of" ? 0.8 : 1.6, width: big ? 5 : 3 },
        });
      }
      const trace = traces.get(key);
      trace.x.push(x); trace.y.push(y); trace.text.push(said); trace.error_x.array.push(error);
    };
    lines.forEach((line, y) => {
      const several = line.runs.length > 1 || line.test;
      for (const r of line.runs) {
        const { test, label } = data.runs[r];
        const said = `#${r + 1} ${escaped(cut(label, 80))}<br>${written(headline, test)}`;
        add(styleOf(r), several ? "one of" : "one", by * test[0], several ? y + 0.22 : y, by * (test[1] ?? 0), said,
          picked.size && !picked.has(r));
      }
      if (line.test) {
        const faint = picked.size && !line.runs.some((r) => picked.has(r));
        const said = `${escaped(cut(line.label, 80))}<br>${written(headline, line.test)} over ${line.runs.length} seeds`;
        add(styleOf(line.runs[0]), "seeds", by * line.test[0], y - 0.12, by * (line.test[1] ?? 0), said, faint);
      }
    });
    const most = innerWidth < 640 ? 18 : 44;
    const numbered = ({ label, runs: [first, ...others] }) => (others.length ? label : `#${first + 1} ${label}`);
    Plotly.react(place, [...traces.values()], layout({
      height: 78 + lines.length * (lines.some((l) => l.runs.length > 1) ? 34 : 25),
      margin: { l: 10, r: 16, t: 8, b: 46 },
      xaxis: axis({
        title: { text: `test ${titled(headline)}` },
        ...possible(headline, Math.min(...[...mine].map((r) => data.runs[r].test[0]))),
      }),
      yaxis: axis({
        range: [lines.length - 0.4, -0.6], tickvals: lines.map((_, y) => y), ticks: "",
        ticktext: lines.map((line) => escaped(cut(numbered(line), most))), fixedrange: true,
      }),
    }), config);
    return { all, drawn: lines.length, seeds: lines.some((l) => l.test) };
  };

  const curves = (place, runs, picked) => {
    const { name } = place.dataset, headline = judged(place), loss = { title: "loss", higher: true };
    const shows = name === headline.score ? headline : loss, by = factor(shows);
    const mine = judgedSo(place, runs).filter((r) => Object.keys(data.runs[r].curves).length);
    const front = new Set(one("all").checked ? mine : mine.slice(0, BEST));
    for (const r of mine) if (picked.has(r)) front.add(r);
    const traces = [], thin = { x: [], y: [] };
    const bands = front.size <= BANDS ? front : picked;
    let low = Infinity, high = -Infinity;
    const scaled = (list) => list.map((v) => {
      if (v === null) return null;
      low = Math.min(low, by * v); high = Math.max(high, by * v);
      return by * v;
    });
    for (const r of mine) {
      const { val, train } = data.runs[r].curves, index = styleOf(r), ink = inked(index);
      const faint = picked.size && !picked.has(r);
      if (!front.has(r)) {
        if (column(val, name)) { thin.x.push(...val.step, null); thin.y.push(...scaled(val[name]), null); }
        continue;
      }
      const label = `#${r + 1} ${escaped(cut(data.runs[r].label, 80))}`;
      if (one("training").checked && column(train, name)) {
        traces.push({ x: train.step, y: scaled(train[name]), mode: "lines", opacity: faint ? 0.12 : 0.55,
          line: { color: ink, width: 1, dash: "dot" }, text: `${label}, training`,
          hovertemplate: "%{text}<br>step %{x}: %{y:.4g}<extra></extra>" });
      }
      if (!column(val, name)) continue;
      const y = scaled(val[name]);
      if (bands.has(r) && val.ci95 && shows === headline && !faint) {
        const half = val.ci95.map((v) => by * (v ?? 0)), back = y.map((_, i) => y.length - 1 - i).filter((i) => y[i] !== null);
        const there = [...back].reverse();
        traces.push({ x: [...there, ...back].map((i) => val.step[i]), fill: "toself", fillcolor: ink, opacity: 0.14,
          y: [...there.map((i) => y[i] + half[i]), ...back.map((i) => y[i] - half[i])],
          mode: "none", hoverinfo: "skip", line: { width: 0 } });
      }
      traces.push({ x: val.step, y, mode: "lines+markers", opacity: faint ? 0.18 : 1, text: label,
        line: { color: ink, width: picked.has(r) ? 3.2 : 1.7, dash: dash(index) },
        marker: { color: ink, size: picked.has(r) ? 7 : 4.5, symbol: symbol(index) },
        hovertemplate: `%{text}<br>step %{x}: %{y:.4g}<extra></extra>` });
    }
    if (thin.x.length) {
      traces.unshift({ ...thin, mode: "lines", line: { color: colour("thin"), width: 0.8 }, hoverinfo: "skip" });
    }
    for (const trace of traces) {
      trace.type = "scatter"; trace.connectgaps = false;
      if (trace.text) trace.text = Array(trace.x.length).fill(trace.text);
    }
    place.hidden = !traces.length;
    if (traces.length) {
      const log = !shows.percent && low > 0 && high / low > 30;
      Plotly.react(place, traces, layout({
        height: 380, margin: { l: 10, r: 16, t: 8, b: 46 },
        xaxis: axis({ title: { text: "outer step" }, rangemode: "tozero" }),
        yaxis: axis({ title: { text: titled(shows) }, type: log ? "log" : "linear", ...(log ? {} : possible(shows, low)) }),
      }), config);
    }
    return { all: mine.length, front: front.size };
  };

  const legend = (runs) => {
    const by = keys.value, place = one("legend");
    runs = runs.filter((r) => data.runs[r].test || Object.keys(data.runs[r].curves).length);
    place.replaceChildren();
    if (by === "none") return;
    const names = by === "run" ? runs.map((r) => [r, data.runs[r].label])
      : values[by].map((v, i) => [i, v]).filter(([i]) => runs.some((r) => styleOf(r) === i));
    for (const [index, name] of names) {
      const entry = document.createElement("span"), text = document.createElement("bdi");
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const line = document.createElementNS(svg.namespaceURI, "line");
      for (const [k, v] of Object.entries({ x1: 0, x2: 26, y1: 6, y2: 6, stroke: inked(index), "stroke-width": 3 })) line.setAttribute(k, v);
      if (index >= 7) line.setAttribute("stroke-dasharray", "5 4");
      svg.append(line);
      text.textContent = cut(name, 60);
      entry.append(svg, text);
      place.append(entry);
    }
  };

  const draw = () => {
    const runs = shown(), picked = chosen();
    for (const r of picked) if (!runs.includes(r)) picked.delete(r);
    const found = { dots: [], curves: [] };
    for (const place of plots) found[place.dataset.plot].push((place.dataset.plot === "dots" ? dots : curves)(place, runs, picked));
    legend(runs);
    const said = [];
    for (const { all, drawn } of found.dots) if (drawn < all) said.push(`The ${drawn} best of ${all} are drawn; filter the table to see others.`);
    if (found.dots.some((d) => d.seeds)) said.push("A diamond is the mean over seeds with its interval over them; beside it lie the single seeds, with theirs over episodes.");
    one("results-note").textContent = said.join(" ") || (found.dots.every((d) => !d.drawn) ? "No test figure among the runs that the table shows." : "");
    const many = Math.max(0, ...found.curves.map((c) => c.all)), front = Math.max(0, ...found.curves.map((c) => c.front));
    one("curves-note").textContent = !many ? "No curves among the runs that the table shows."
      : `Validation${one("training").checked ? " (solid) and training (dotted)" : ""} of ` +
        (front < many ? `the ${front} best runs; the other ${many - front} in grey. ` : `${many} ${many === 1 ? "run" : "runs"}. `) +
        (front <= BANDS ? "Bands are 95 % intervals over validation episodes." : "Tick runs in the table to see their intervals.");
  };
  let waiting = 0;
  const drawSoon = () => {
    if (!plots.length) return;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  };

  for (const id of ["colour", "training", "all"]) one(id).addEventListener("change", drawSoon);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); draw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); draw(); });
  let width = innerWidth;
  addEventListener("resize", () => { if ((width < 640) !== (innerWidth < 640)) drawSoon(); width = innerWidth; });
  if (data.runs.filter((r) => r.curves.train).length <= BANDS) one("training").checked = true;
  draw();
  open();
  document.documentElement.classList.add("ready");
})();
