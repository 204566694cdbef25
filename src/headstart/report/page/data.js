// The study's numbers, of all runs or of a subset: the same tables that headstart.report.charts.tables makes.
const study = JSON.parse(document.getElementById("study").textContent);
const kept = study.dims.map(dim => new Set(dim.values.keys()));
let soughtText = "";
const place = Object.fromEntries(study.columns.map((column, at) => [column.name, at]));
const seedDim = study.dims.findIndex(dim => dim.title === "seed" && study.rows.every(row => row.dims[study.dims.indexOf(dim)] === null));
study.runs.forEach((run, at) => { run.at = at; run.seedAt = seedDim < 0 ? 0 : study.dims[seedDim].values.indexOf(run.seed); });
const runsOf = study.rows.map(() => []);
study.runs.forEach(run => runsOf[run.row].push(run));
let rowKept = study.rows.map(() => true), runKept = study.runs.map(() => true);

const isWhole = () => soughtText === "" && kept.every((values, at) => values.size === study.dims[at].values.length);
const isEverySeed = () => seedDim < 0 || kept[seedDim].size === study.dims[seedDim].values.length;

function applyFilter() {
  const text = soughtText.toLowerCase();
  const matches = run => (run.name + " " + run.differs).toLowerCase().includes(text);
  const named = study.rows.map(row => text === "" || row.name.toLowerCase().includes(text));
  const inDims = study.rows.map(row => row.dims.every((value, at) => value === null || kept[at].has(value)));
  runKept = study.runs.map(run => inDims[run.row] && (seedDim < 0 || kept[seedDim].has(run.seedAt)) && (named[run.row] || matches(run)));
  rowKept = study.rows.map((row, at) => runsOf[at].some(run => runKept[run.at]));
}

const keptRuns = row => runsOf[row].filter(run => runKept[run.at]);

function summarize(values) {
  if (!values.length || values.some(value => value === null)) return null;
  const n = values.length, mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n === 1) return { n, mean, half: null };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { n, mean, half: study.t[n] * Math.sqrt(variance / n) };
}

const fixed = (value, digits) => {
  const scaled = value * 10 ** digits;
  return (Math.abs(scaled % 1) === 0.5 ? 2 * Math.round(scaled / 2) / 10 ** digits : value).toFixed(digits);
};
const short = value => String(Number(value.toPrecision(3)));
const writers = {
  percent: value => fixed(100 * value, 1),
  nats: value => fixed(value, 3),
  short,
  duration: s => s < 0.995 ? fixed(s, 2) + " s" : s < 99.95 ? fixed(s, 1) + " s" : s < 5997 ? fixed(s / 60, 1) + " min" : fixed(s / 3600, 1) + " h",
  count: value => {
    for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(value) >= 0.99995 * size) return fixed(value / size, 1) + " " + unit;
    return value === Math.round(value) ? value.toFixed(0) : fixed(value, 1);
  },
  macs: value => {
    if (value === 0) return "0";
    for (const [size, unit] of [[1e6, "P"], [1e3, "T"], [1, "G"]]) if (Math.abs(value) >= 0.99995 * size) return fixed(value / size, 1) + " " + unit;
    return short(1000 * value) + " M";
  },
};
const scaleOf = column => column.kind === "percent" ? 100 : 1;
const columnOf = name => study.columns[place[name]];
const valueOf = (run, name) => run.values[place[name]];

function scoreOf(row, name) {
  const column = columnOf(name), scale = scaleOf(column), found = summarize(keptRuns(row).map(run => valueOf(run, name)));
  if (found === null) return null;
  const write = value => writers[column.kind](value), half = found.half;
  return {
    row, label: study.rows[row].label, n: found.n, score: scale * found.mean,
    low: half === null ? null : scale * (found.mean - half), high: half === null ? null : scale * (found.mean + half),
    text: write(found.mean) + (half === null ? "" : " ± " + write(half)), merit: column.rising ? found.mean : -found.mean,
  };
}
const runFacts = (run, name) => ({ row: run.row, label: study.rows[run.row].label, run: run.name, seed: run.seed, differs: run.differs, score: scaleOf(columnOf(name)) * valueOf(run, name) });

function scoreTables() {
  const rows = [], seeds = [], name = study.metric.name;
  study.tasks.forEach((task, at) => {
    const own = task.rows.filter(row => rowKept[row]).slice(0, Math.max(3, Math.floor(study.most / study.tasks.length)));
    if (study.tasks.length > 1 && own.length) rows.push({ id: "t" + at, label: task.name, head: true });
    for (const row of own) {
      rows.push({ id: "r" + row, ...scoreOf(row, name) });
      seeds.push(...keptRuns(row).map(run => ({ id: "r" + row, ...runFacts(run, name) })));
    }
  });
  return { rows, seeds };
}

function costTables(rows, cost, worth) {
  const known = [];
  for (const row of rows.filter(row => rowKept[row])) {
    const price = summarize(keptRuns(row).map(run => valueOf(run, cost))), score = scoreOf(row, worth);
    if (price === null || price.mean <= 0 || score === null) continue;
    known.push({ x: price.mean, y: score.score, tag: "", ...score, low: score.low ?? score.score, high: score.high ?? score.score });
  }
  const front = [];
  for (const point of [...known].sort((a, b) => a.x - b.x || b.merit - a.merit)) {
    if (!front.length || point.merit > front[front.length - 1].merit) front.push(point);
  }
  const named = known.length > 12 ? front : known;
  named.forEach(point => { point.tag = point.label; });
  const dots = known.flatMap(point => keptRuns(point.row).map(run => {
    const facts = runFacts(run, worth);
    return { ...facts, x: valueOf(run, cost) || point.x, y: facts.score };
  }));
  const xs = [...known, ...dots].map(point => point.x), low = Math.min(...xs), high = Math.max(...xs), spread = Math.max(1.25, (high / low) ** 0.08);
  const corners = front.map((point, order) => ({ x: point.x, y: point.y, order }));
  if (corners.length) corners.push({ x: high * spread, y: corners[corners.length - 1].y, order: corners.length });
  return { points: known, dots, front: corners, span: [low / spread, high * spread] };
}

function spreadOf(values) {
  const several = values.length > 1;
  return { y: values.reduce((sum, value) => sum + value, 0) / values.length, low: several ? Math.min(...values) : null, high: several ? Math.max(...values) : null };
}

function curveTables(rows, runs = keptRuns) {
  const points = [], levels = [];
  for (const row of rows) {
    const facts = { row, label: study.rows[row].label };
    let live = runs(row).map(run => run.curve).filter(curve => curve && curve.x);
    const probes = runs(row).map(run => run.curve).filter(curve => curve && curve.probe !== undefined);
    if (!live.length) {
      if (probes.length) levels.push({ ...facts, ...spreadOf(probes.map(curve => 100 * curve.probe)) });
      continue;
    }
    let common = live[0].x.filter(epoch => live.every(curve => curve.x.includes(epoch)));
    if (!common.length) {
      live = [live.reduce((a, b) => b.x[b.x.length - 1] > a.x[a.x.length - 1] ? b : a)];
      common = live[0].x;
    }
    for (const x of common) {
      const values = live.map(curve => 100 * curve.y[curve.x.indexOf(x)]);
      points.push({ ...facts, x, ...spreadOf(values), begins: x === 0 || live[0].begins.includes(x) });
    }
  }
  return { points, levels };
}
