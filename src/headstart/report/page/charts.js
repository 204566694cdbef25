// Draws each chart when it comes into view, and anew when the subset changes.
const OPTIONS = { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false }, patch: placeLabels, hover: false };
const numbersOf = text => text ? text.split(" ").map(Number) : [];
const figures = [...document.querySelectorAll("figure.plot")].map(element => ({
  element, name: element.dataset.plot, kind: element.dataset.kind, rows: numbersOf(element.dataset.rows),
  tasks: numbersOf(element.dataset.tasks), labels: numbersOf(element.dataset.labels), pairs: JSON.parse(element.dataset.pairs || "[]"),
  caption: element.querySelector("figcaption")?.textContent, views: [], cost: element.dataset.cost, worth: study.metric.name,
}));

// Names stand where they cover no mark, bar, line or other name, at any width: Vega looks for a place.
function placeLabels(spec) {
  const text = spec.marks.find(mark => mark.name === "labels_marks");
  if (!text) return spec;
  text.from = { data: "points_marks" };
  text.encode = { update: { text: { signal: "datum.datum.tag || ''" }, fill: { value: "#1f2328" }, fontSize: { value: 11.5 }, limit: { signal: "clamp(width / 3, 190, 300)" } } };
  text.transform = [{
    type: "label", size: { signal: "[width + 5, height]" }, anchor: ["right", "left", "top", "bottom", "top-right", "top-left", "bottom-right", "bottom-left"],
    offset: [4, 4, 4, 4, 2, 2, 2, 2], avoidBaseMark: true, avoidMarks: spec.marks.filter(mark => /^(bars|dots|front)/.test(mark.name)).map(mark => mark.name),
  }];
  return spec;
}

const makers = {
  scores: () => scoreTables(),
  curves: figure => curveTables(figure.rows.filter(row => rowKept[row])),
  cost: (figure, at) => costTables(study.tasks[figure.tasks[at]].rows, figure.cost, figure.worth),
  confusion: figure => confusionTables(keptRuns(figure.rows[0])),
  reliability: figure => reliabilityTables(figure.rows[0]),
  classes: classTables, verdicts: verdictTables, pairs: pairTables,
};
const captions = { confusion: figure => describeConfusion(figure.rows[0]), classes: describeClasses };

// The tables of a chart; null where the subset has nothing to draw.
function tablesOf(figure, at) {
  if (figure.kind) return makers[figure.kind](figure, at);
  const tables = {};
  for (const [name, table] of Object.entries(study.charts[figure.name][at].datasets)) {
    tables[name] = table.filter(datum => (datum.row === undefined || rowKept[datum.row] !== false) && (datum.run === undefined || isKeptRun(datum.run)));
  }
  return tables;
}
const runByName = Object.fromEntries(study.runs.map(run => [run.name, run]));
const isKeptRun = name => !(name in runByName) || runKept[runByName[name].at];

function prepare(figure, at) {
  const spec = structuredClone(study.charts[figure.name][at]), tables = tablesOf(figure, at);
  if (figure.kind === "cost") setAxes(spec, figure, tables);
  for (const name of Object.keys(spec.datasets)) if (tables[name]) spec.datasets[name] = tables[name];
  return dress(spec, figure.element.querySelectorAll(".chart")[at].clientWidth);
}

function dress(spec, width) {
  for (const layer of spec.layer) for (const channel of Object.values(layer.encoding || {})) {
    if (!channel.legend || !channel.legend.columns) continue;
    const letters = Math.min(46, Math.max(...channel.scale.domain.map(name => name.length)));
    channel.legend.columns = Math.max(1, Math.floor((width - 60) / (7 * letters + 40)));
    channel.legend.labelLimit = Math.max(110, Math.min(340, width - 190));
  }
  if (spec.title) spec.title = { ...(spec.title.text ? spec.title : { text: spec.title }), limit: width - 24 };
  spec.config = { ...spec.config, background: null, font: getComputedStyle(document.body).fontFamily, aria: true };
  return spec;
}

function ticksOf([low, high], kind) {
  const digits = high / low < 1000 ? [1, 2, 5] : [1], hours = [1, 2, 5, 10, 20, 50, 100].map(hour => 3600 * hour);
  let steps = [...Array(22).keys()].flatMap(at => digits.map(digit => digit * 10 ** (at - 6)));
  if (kind === "duration") steps = [...steps.filter(step => step < 1), 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, ...hours];
  let found = steps.filter(step => low <= step && step <= high);
  const step = steps.filter(size => 3 * size <= high - low).pop(), first = Math.ceil(low / step);
  if (found.length < 3 && step) found = [...Array(Math.floor(high / step) - first + 1).keys()].map(at => Number(((first + at) * step).toPrecision(12)));
  return found.length ? found.filter((_, at) => at % Math.ceil(found.length / 7) === 0) : [Number(Math.sqrt(low * high).toPrecision(2))];
}

// Other axes for the chart of cost: titles, limits and how numbers are written.
function setAxes(spec, figure, tables) {
  const column = columnOf(figure.cost), worth = columnOf(figure.worth);
  const write = { duration: "datum.value < 100 ? format(datum.value, '~g') + ' s' : datum.value < 6000 ? format(datum.value / 60, '.3~g') + ' min' : format(datum.value / 3600, '.2~g') + ' h'",
    macs: "format(datum.value * 1e9, '~s')", short: "format(datum.value, '~g')", count: "format(datum.value, '~s')" };
  const ends = tables.points.flatMap(point => [point.y, point.low, point.high]).concat(tables.dots.map(dot => dot.y)).filter(value => value !== null);
  const room = 0.1 * (Math.max(...ends) - Math.min(...ends)) || 1;
  const title = figure.worth === study.metric.name ? study.metric.axis : "test " + worth.title;
  for (const layer of spec.layer) {
    for (const channel of [layer.encoding.x, layer.encoding.y]) {
      if (!channel || channel.value !== undefined) continue;
      const across = channel === layer.encoding.x;
      channel.title = across ? study.costs[figure.cost] + " (log scale)" : title;
      if (across && channel.axis) {
        channel.axis.labelExpr = write[column.kind];
        channel.axis.values = ticksOf(tables.span, column.kind);
      }
      if (across && channel.scale && tables.points.length) channel.scale.domain = tables.span;
      if (!across && channel.scale && ends.length && figure.worth !== study.metric.name) channel.scale.domain = [Math.min(...ends) - room, Math.max(...ends) + room];
    }
    for (const tip of layer.encoding.tooltip || []) {
      if (tip.field === "x") tip.title = study.costs[figure.cost];
      if (tip.field === "y") tip.title = title;
    }
  }
}

function nameMenu(element) {
  const menu = element.querySelector("details > summary");
  if (menu) menu.setAttribute("aria-label", "Save this chart");
}

async function draw(figure) {
  figure.drawn = true;
  figure.tables = null;
  const places = [...figure.element.querySelectorAll(".chart")];
  figure.views = await Promise.all(places.map(async (element, at) => {
    const { view } = await vegaEmbed(element, prepare(figure, at), OPTIONS);
    nameMenu(element);
    view.addEventListener("click", (event, item) => {
      if (item && item.datum && item.datum.run in runByName) openRun(runByName[item.datum.run]);
    });
    return view;
  }));
  figure.element.dataset.ready = "";
  await update(figure);  // the subset has changed meanwhile
}

// The subset has changed: hide what is about other rows, and make the numbers of the rest.
function refresh(figure) {
  const { element, kind, rows } = figure, few = kind === "curves" ? rows.some(row => rowKept[row]) : rows.every(row => rowKept[row]);
  const tables = few || !rows.length ? study.charts[figure.name].map((_, at) => tablesOf(figure, at)) : [null];
  element.hidden = tables.includes(null);
  figure.tables = null;
  if (element.hidden) return;
  if (captions[kind]) element.querySelector("figcaption").textContent = isPartial() ? captions[kind](figure) : figure.caption;
  figure.tables = tables;
}

async function update(figure) {
  const { tables, name } = figure;
  if (!figure.views.length || !tables) return;
  figure.tables = null;
  await Promise.all(figure.views.map((view, at) => {
    for (const table of Object.keys(study.charts[name][at].datasets)) if (tables[at][table]) view.data(table, tables[at][table]);
    return view.runAsync();
  }));
}

// Charts in view are drawn at once, the others one by one: `settled` is when all are.
let settled = Promise.resolve();
async function refreshCharts() {
  figures.forEach(refresh);
  await Promise.all(figures.filter(figure => figure.inView).map(update));
  settled = figures.reduce((before, figure) => before.then(() => new Promise(setTimeout)).then(() => update(figure)), Promise.resolve());
}

function offerAxes(figure) {
  const box = figure.element.querySelector(".axes");
  if (!box) return;
  const select = (label, choices, key) => {
    const element = document.createElement("select"), title = document.createElement("label");
    for (const [value, text] of Object.entries(choices)) element.append(new Option(text, value, false, value === figure[key]));
    element.addEventListener("change", () => { figure[key] = element.value; draw(figure); });
    title.append(label + " ", element);
    return title;
  };
  box.append(select("Across:", study.costs, "cost"), select("Up:", { [study.metric.name]: study.metric.title, ...study.worths }, "worth"));
}

if (window.vegaEmbed) {
  const watcher = new IntersectionObserver(entries => {
    for (const entry of entries) {
      const figure = figures.find(each => each.element === entry.target);
      figure.inView = entry.isIntersecting;
      if (figure.inView && !figure.drawn) draw(figure);
    }
  }, { rootMargin: "400px" });
  figures.forEach(figure => { offerAxes(figure); watcher.observe(figure.element); });
  window.addEventListener("beforeprint", () => figures.filter(figure => !figure.drawn).forEach(draw));
}
