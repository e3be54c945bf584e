"use strict";
// Sorting, filtering and plots of the report. Text from run folders is inserted through
// textContent, or escaped where Plotly would parse it as markup.
(() => {
  const find = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const MAX_CURVES = 20, MAX_DOTS = 40, MAX_BANDS = 6, MISSING = 1e9;
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon"];

  // ---- the table

  const body = byId("table").tBodies[0], rows = [...body.rows], headers = find("th", byId("table").tHead);
  const texts = rows.map((row) => row.textContent.toLowerCase());

  const order = (column, ascending) => {
    const keyed = rows.map((row) => {
      const { sort: text, score } = row.cells[column].dataset; // scores are sorted separately
      return { row, text, rank: text === "" || text === "nan" ? MISSING : +(score ?? 0), number: Number(text) };
    });
    const sign = ascending ? 1 : -1, collator = new Intl.Collator("en", { numeric: true });
    keyed.sort((a, b) => {
      if (a.rank !== b.rank || a.rank === MISSING) return a.rank - b.rank;
      const numbersFirst = !Number.isNaN(b.number) - !Number.isNaN(a.number);
      if (numbersFirst) return numbersFirst;
      return sign * (Number.isNaN(a.number) ? collator.compare(a.text, b.text) : a.number - b.number);
    });
    body.append(...keyed.map((k) => k.row));
  };

  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const isFigure = /^(test|validation|over seeds)$/.test(header.textContent.trim());
      const previous = header.getAttribute("aria-sort");
      const ascending = previous ? previous !== "ascending" : !isFigure;
      headers.forEach((h) => h.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      order(column, ascending);
    });
  });

  const filter = () => {
    const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const selects = find("select[data-fact]").filter((s) => s.value);
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].includes(word)) ||
        !selects.every((s) => row.dataset[s.dataset.fact] === s.value);
    });
    const visible = rows.filter((row) => !row.hidden).length;
    byId("count").textContent = `${visible} of ${rows.length} runs`;
    drawSoon();
  };
  const visibleRuns = () => rows.filter((row) => !row.hidden).map((row) => +row.dataset.run).sort((a, b) => a - b);
  const tickedRuns = () => new Set(find("tr.ticked", body).map((row) => +row.dataset.run));

  byId("filters").addEventListener("input", filter);
  byId("filters").addEventListener("reset", () => setTimeout(filter));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  body.addEventListener("change", (event) => {
    event.target.closest("tr").classList.toggle("ticked", event.target.checked);
    drawSoon();
  });

  // ---- a run's section

  const open = () => {
    const section = /^#run-\d+$/.test(location.hash) && byId(location.hash.slice(1));
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
    } catch { // some browsers deny clipboard access to pages opened from disk
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand("copy") ? "copied" : "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  };

  // ---- the matrices: tab moves to one cell of each, and arrow keys to the others

  for (const table of find(".matrix")) {
    const description = table.parentElement.nextElementSibling;
    const cells = find("td[title]", table);
    cells.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
    const describe = (event) => {
      const cell = event.target.closest("td[title]");
      if (cell) description.textContent = cell.title;
    };
    table.addEventListener("pointerover", describe);
    table.addEventListener("focusin", describe);
    table.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const cell = event.target.closest("td[title]");
      if (!step || !cell) return;
      event.preventDefault();
      let row = cell.parentElement.rowIndex, column = cell.cellIndex, next;
      do { // skip the diagonal
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
  const wrapped = (text, length) => { // lines of at most `length` characters, broken between words
    const lines = [""];
    for (const word of text.split(" ").flatMap((w) => w.match(new RegExp(`.{1,${length}}`, "gu")) ?? [])) {
      const last = lines.at(-1);
      if (last && last.length + word.length >= length) lines.push(word);
      else lines[lines.length - 1] = last ? `${last} ${word}` : word;
    }
    return lines.map(escaped);
  };
  const truncate = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const factor = ({ percent }) => (percent ? 100 : 1);
  const formatted = (headline, [mean, ci95]) => {
    const { percent, digits } = headline, scale = factor(headline);
    const interval = ci95 === null ? "" : ` ± ${(scale * ci95).toFixed(digits)}`;
    return `${(scale * mean).toFixed(digits)}${interval}${percent ? " %" : ""}`;
  };
  const axisTitle = ({ title, percent }) => escaped(title) + (percent ? " (%)" : "");
  const headlineOf = (element) => data.headlines[element.dataset.headline];
  const withHeadline = (element, runs) => runs.filter((r) => data.runs[r].headline === +element.dataset.headline);
  const column = (curve, name) => (curve && Object.hasOwn(curve, name) ? curve[name] : null);

  const colourSelect = byId("colour");
  data.keys.forEach((title, i) => colourSelect.add(new Option(title, i)));
  if (data.runs.length <= 14) colourSelect.add(new Option("run", "run"));
  colourSelect.add(new Option("nothing", "none"));
  const values = data.keys.map((_, i) => [...new Set(data.runs.map((r) => r.groups[i]))]);
  const styleOf = (run) => { // index of a colour and symbol
    const key = colourSelect.value;
    return key === "none" ? 0 : key === "run" ? run : values[key].indexOf(data.runs[run].groups[key]);
  };
  const colourOf = (index) => colour(`c${index % 7}`);
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
    exponentformat: "e", ...more, // a superscript needs a style attribute, which the policy forbids
  });
  // An interval over two seeds can exceed the range of the score, to which the axis is limited.
  const axisLimits = ({ percent, higher }, low) =>
    (percent ? { minallowed: -1, maxallowed: 101 } : !higher && low >= 0 ? { minallowed: 0 } : {});
  const config = {
    displaylogo: false, responsive: true,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    toImageButtonOptions: { format: "svg", filename: "metarun" },
  };

  const dots = (element, runs, ticked) => {
    const headline = headlineOf(element), scale = factor(headline);
    const tested = new Set(withHeadline(element, runs).filter((r) => data.runs[r].test));
    const lines = [];
    const grouped = new Set();
    for (const seeds of data.seeds) {
      const inside = seeds.runs.filter((r) => tested.has(r));
      if (!inside.length) continue;
      inside.forEach((r) => grouped.add(r));
      lines.push({ label: seeds.label, test: inside.length === seeds.runs.length ? seeds.test : null, runs: inside });
    }
    for (const r of tested) if (!grouped.has(r)) lines.push({ label: data.runs[r].label, test: null, runs: [r] });
    lines.sort((a, b) => data.runs[a.runs[0]].place - data.runs[b.runs[0]].place);
    const all = lines.length;
    lines.splice(MAX_DOTS);
    element.hidden = !lines.length;
    if (!lines.length) return { all, drawn: 0, seeds: false };

    const traces = new Map();
    const add = (index, kind, x, y, error, text, faint) => {
      const key = `${index} ${kind} ${faint}`;
      if (!traces.has(key)) {
        const isMean = kind === "seed mean", opacity = faint ? 0.25 : kind === "one seed" ? 0.6 : 1;
        traces.set(key, {
          type: "scatter", mode: "markers", x: [], y: [], text: [], opacity,
          hovertemplate: "%{text}<extra></extra>",
          marker: { color: colourOf(index), size: isMean ? 11 : kind === "one seed" ? 6 : 9, symbol: isMean ? "diamond" : symbol(index) },
          error_x: { type: "data", array: [], color: colourOf(index), thickness: isMean ? 2.5 : kind === "one seed" ? 0.8 : 1.6, width: isMean ? 5 : 3 },
        });
      }
      const trace = traces.get(key);
      trace.x.push(x); trace.y.push(y); trace.text.push(text); trace.error_x.array.push(error);
    };
    lines.forEach((line, y) => {
      const several = line.runs.length > 1 || line.test;
      for (const r of line.runs) {
        const { test, label } = data.runs[r];
        const text = `#${r + 1} ${escaped(truncate(label, 140))}<br>${formatted(headline, test)}`;
        add(styleOf(r), several ? "one seed" : "run", scale * test[0], several ? y + 0.22 : y, scale * (test[1] ?? 0), text,
          ticked.size && !ticked.has(r));
      }
      if (line.test) {
        const faint = ticked.size && !line.runs.some((r) => ticked.has(r));
        const text = `${escaped(truncate(line.label, 140))}<br>${formatted(headline, line.test)} over ${line.runs.length} seeds`;
        add(styleOf(line.runs[0]), "seed mean", scale * line.test[0], y - 0.12, scale * (line.test[1] ?? 0), text, faint);
      }
    });
    const labelLength = innerWidth < 640 ? 18 : 44;
    const lineLabel = ({ label, runs: [first, ...others] }) => (others.length ? label : `#${first + 1} ${label}`);
    const tickLabels = lines.map((line) => wrapped(lineLabel(line), labelLength));
    const labelHeight = 9 + 16 * Math.max(...tickLabels.map((rows) => rows.length));
    Plotly.react(element, [...traces.values()], layout({
      height: 78 + lines.length * Math.max(labelHeight, lines.some((l) => l.runs.length > 1) ? 34 : 25),
      margin: { l: 10, r: 16, t: 8, b: 46 },
      xaxis: axis({
        title: { text: `test ${axisTitle(headline)}` },
        ...axisLimits(headline, Math.min(...[...tested].map((r) => data.runs[r].test[0]))),
      }),
      yaxis: axis({
        range: [lines.length - 0.4, -0.6], tickvals: lines.map((_, y) => y), ticks: "",
        ticktext: tickLabels.map((rows) => rows.join("<br>")), fixedrange: true,
      }),
    }), config);
    return { all, drawn: lines.length, seeds: lines.some((l) => l.test) };
  };

  const curves = (element, runs, ticked) => {
    const { name } = element.dataset, headline = headlineOf(element), loss = { title: "loss", higher: true };
    const score = name === headline.score ? headline : loss, scale = factor(score);
    const curved = withHeadline(element, runs).filter((r) => Object.keys(data.runs[r].curves).length);
    const coloured = new Set(byId("all").checked ? curved : curved.slice(0, MAX_CURVES));
    for (const r of curved) if (ticked.has(r)) coloured.add(r);
    const traces = [], grey = { x: [], y: [] };
    const banded = coloured.size <= MAX_BANDS ? coloured : ticked;
    let low = Infinity, high = -Infinity;
    const scaled = (list) => list.map((v) => {
      if (v === null) return null;
      low = Math.min(low, scale * v); high = Math.max(high, scale * v);
      return scale * v;
    });
    for (const r of curved) {
      const { val, train } = data.runs[r].curves, index = styleOf(r), color = colourOf(index);
      const faint = ticked.size && !ticked.has(r);
      if (!coloured.has(r)) {
        if (column(val, name)) { grey.x.push(...val.step, null); grey.y.push(...scaled(val[name]), null); }
        continue;
      }
      const label = `#${r + 1} ${escaped(truncate(data.runs[r].label, 140))}`;
      if (byId("training").checked && column(train, name)) {
        traces.push({ x: train.step, y: scaled(train[name]), mode: "lines", opacity: faint ? 0.12 : 0.55,
          line: { color, width: 1, dash: "dot" }, text: `${label}, training`,
          hovertemplate: "%{text}<br>step %{x}: %{y:.4g}<extra></extra>" });
      }
      if (!column(val, name)) continue;
      const y = scaled(val[name]);
      if (banded.has(r) && val.ci95 && score === headline && !faint) {
        const half = val.ci95.map((v) => scale * (v ?? 0)), backward = y.map((_, i) => y.length - 1 - i).filter((i) => y[i] !== null);
        const forward = [...backward].reverse();
        traces.push({ x: [...forward, ...backward].map((i) => val.step[i]), fill: "toself", fillcolor: color, opacity: 0.14,
          y: [...forward.map((i) => y[i] + half[i]), ...backward.map((i) => y[i] - half[i])],
          mode: "none", hoverinfo: "skip", line: { width: 0 } });
      }
      traces.push({ x: val.step, y, mode: "lines+markers", opacity: faint ? 0.18 : 1, text: label,
        line: { color, width: ticked.has(r) ? 3.2 : 1.7, dash: dash(index) },
        marker: { color, size: ticked.has(r) ? 7 : 4.5, symbol: symbol(index) },
        hovertemplate: `%{text}<br>step %{x}: %{y:.4g}<extra></extra>` });
    }
    if (grey.x.length) {
      traces.unshift({ ...grey, mode: "lines", line: { color: colour("thin"), width: 0.8 }, hoverinfo: "skip" });
    }
    for (const trace of traces) {
      trace.type = "scatter"; trace.connectgaps = false;
      if (trace.text) trace.text = Array(trace.x.length).fill(trace.text);
    }
    element.hidden = !traces.length;
    if (traces.length) {
      const log = !score.percent && low > 0 && high / low > 30;
      Plotly.react(element, traces, layout({
        height: 380, margin: { l: 10, r: 16, t: 8, b: 46 },
        xaxis: axis({ title: { text: "outer step" }, rangemode: "tozero" }),
        yaxis: axis({ title: { text: axisTitle(score) }, type: log ? "log" : "linear", ...(log ? {} : axisLimits(score, low)) }),
      }), config);
    }
    return { all: curved.length, coloured: coloured.size };
  };

  const legend = (runs) => {
    const key = colourSelect.value, element = byId("legend");
    runs = runs.filter((r) => data.runs[r].test || Object.keys(data.runs[r].curves).length);
    element.replaceChildren();
    if (key === "none") return;
    const names = key === "run" ? runs.map((r) => [r, data.runs[r].label])
      : values[key].map((v, i) => [i, v]).filter(([i]) => runs.some((r) => styleOf(r) === i));
    for (const [index, name] of names) {
      const entry = document.createElement("span"), text = document.createElement("bdi");
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const line = document.createElementNS(svg.namespaceURI, "line");
      for (const [k, v] of Object.entries({ x1: 0, x2: 26, y1: 6, y2: 6, stroke: colourOf(index), "stroke-width": 3 })) line.setAttribute(k, v);
      if (index >= 7) line.setAttribute("stroke-dasharray", "5 4");
      svg.append(line);
      text.textContent = name;
      entry.append(svg, text);
      element.append(entry);
    }
  };

  const draw = () => {
    const runs = visibleRuns(), ticked = tickedRuns();
    for (const r of ticked) if (!runs.includes(r)) ticked.delete(r);
    const drawings = { dots: [], curves: [] };
    for (const element of plots) drawings[element.dataset.plot].push((element.dataset.plot === "dots" ? dots : curves)(element, runs, ticked));
    legend(runs);
    const notes = [];
    for (const { all, drawn } of drawings.dots) if (drawn < all) notes.push(`The ${drawn} best of ${all} are drawn; filter the table to see others.`);
    if (drawings.dots.some((d) => d.seeds)) notes.push("Diamonds: means over seeds with intervals over seeds. Small dots: single seeds with intervals over episodes.");
    byId("results-note").textContent = notes.join(" ") || (drawings.dots.every((d) => !d.drawn) ? "No test figure among the runs in the table." : "");
    const all = Math.max(0, ...drawings.curves.map((c) => c.all)), coloured = Math.max(0, ...drawings.curves.map((c) => c.coloured));
    byId("curves-note").textContent = !all ? "No curves among the runs in the table."
      : `Validation${byId("training").checked ? " (solid) and training (dotted)" : ""} of ` +
        (coloured < all ? `the ${coloured} best runs; the other ${all - coloured} in grey. ` : `${all} ${all === 1 ? "run" : "runs"}. `) +
        (coloured <= MAX_BANDS ? "Bands are 95 % intervals over validation episodes." : "Tick runs in the table to see their intervals.");
  };
  let waiting = 0;
  const drawSoon = () => {
    if (!plots.length) return;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  };

  for (const id of ["colour", "training", "all"]) byId(id).addEventListener("change", drawSoon);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); draw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); draw(); });
  let width = innerWidth;
  addEventListener("resize", () => { if ((width < 640) !== (innerWidth < 640)) drawSoon(); width = innerWidth; });
  if (data.runs.filter((r) => r.curves.train).length <= MAX_BANDS) byId("training").checked = true;
  draw();
  open();
  document.documentElement.classList.add("ready");
})();
