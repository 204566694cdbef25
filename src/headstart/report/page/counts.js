// The tables of the charts of classes, confidences and single images, of the runs that are kept.
const isPartial = () => study.rows.some((_, row) => rowKept[row] && runsOf[row].some(run => !runKept[run.at]));
const total = values => values.reduce((sum, value) => sum + value, 0);
const signed = (value, digits) => (value < 0 || Object.is(value, -0) ? "-" : "+") + fixed(Math.abs(value), digits);
const keptPairs = figure => figure.pairs.map(pair => pair.map(at => study.runs[at])).filter(pair => pair.every(run => runKept[run.at]));

// The runs (or pairs of them) of each seed, its folds together; a seed that lacks a fold that others have is left out.
function splitSeeds(items, runOf = item => item) {
  const found = new Map();
  for (const item of items) {
    const run = runOf(item), key = run.repeat[1] < 0 ? "run" + run.at : run.repeat[0];
    found.set(key, [...(found.get(key) || []), item]);
  }
  const seeds = [...found.values()], most = Math.max(0, ...seeds.map(folds => folds.length));
  return seeds.filter(folds => folds.length === most);
}

function eachCount(run, use) {
  const n = study.classes[run.classes].length;
  for (let at = 0, spot = 0; at < run.confusion.length; at += 2) {
    spot += run.confusion[at];
    use(Math.floor(spot / n), spot % n, run.confusion[at + 1]);
  }
}

function countClasses(runs) {
  const [images, predicted, hits] = [0, 1, 2].map(() => new Float64Array(study.classes[runs[0].classes].length));
  for (const run of runs) eachCount(run, (is, seen, count) => {
    images[is] += count;
    predicted[seen] += count;
    if (is === seen) hits[is] += count;
  });
  return { images, predicted, hits };
}

function confusionTables(runs) {
  const known = runs.filter(run => run.confusion);
  if (!known.length) return null;
  const names = study.classes[known[0].classes], n = names.length, counts = new Map(), { images } = countClasses(known);
  for (const run of known) eachCount(run, (is, seen, count) => counts.set(is * n + seen, (counts.get(is * n + seen) || 0) + count));
  const cells = [...counts].sort((a, b) => a[0] - b[0]).map(([spot, count]) => {
    const is = Math.floor(spot / n), share = count / images[is];
    return { true: is, seen: spot % n, share, text: share >= 0.005 ? fixed(100 * share, 0) : "" };
  });
  return { cells };
}

function describeConfusion(row) {
  const { cells } = confusionTables(keptRuns(row)), names = study.classes[runsOf[row][0].classes];
  const wrong = cells.filter(cell => cell.true !== cell.seen).sort((a, b) => b.share - a.share).slice(0, 3);
  const pairs = wrong.map(cell => `${names[cell.true]} for ${names[cell.seen]} (${fixed(100 * cell.share, 0)} %)`);
  return `${study.rows[row].name}. ` + (pairs.length ? `Most often taken: ${pairs.join(", ")}.` : "No image was taken for another class.");
}

function reliabilityTables(row) {
  const runs = keptRuns(row);
  if (!runs.length || runs.some(run => !run.bins)) return null;
  const n = runs[0].bins[0].length, [images, right, sure] = [0, 1, 2].map(kind => [...Array(n).keys()].map(at => total(runs.map(run => run.bins[kind][at]))));
  const every = total(images), mean = (sums, at) => images[at] ? 100 * sums[at] / images[at] : null;
  const bins = images.map((count, at) => {
    const share = 100 * count / every;
    return { from: 100 * (at + 0.06) / n, to: 100 * (at + 0.94) / n, sure: mean(sure, at), right: mean(right, at), share, few: share < 1 };
  });
  const error = writers.percent(total(sure.map((sum, at) => Math.abs(sum - right[at]))) / every);
  const seeds = place.ece === undefined ? null : summarize(runs.map(run => valueOf(run, "ece")));
  const told = runs.length === 1 ? [`ECE ${error} %`] : [`ECE ${error} % pooled`, ...(seeds ? [`${writers.percent(seeds.mean)} % mean of seeds`] : [])];
  return { bins, told: [{ text: told.join(", ") }] };
}

// Recall of two rows by class and seed, and the paired difference; null without a common seed.
function compareClasses(figure) {
  const seeds = splitSeeds(keptPairs(figure), pair => pair[0]);
  if (!seeds.length) return null;
  const sides = [0, 1].map(side => seeds.map(folds => countClasses(folds.map(pair => pair[side]))));
  return study.classes[seeds[0][0][0].classes].map((name, label) => {
    const [one, other] = sides.map(counts => counts.map(each => each.hits[label] / each.images[label]));
    return { class: name, one, other, images: sides[0][0].images[label], difference: summarize(one.map((value, at) => value - other[at])) };
  });
}

function classTables(figure) {
  const found = compareClasses(figure), spec = study.charts[figure.name][0];
  if (found === null) return null;
  const [first, second] = spec.layer.find(layer => layer.encoding.color).encoding.color.scale.domain;
  const mean = values => 100 * total(values) / values.length;
  const classes = figure.labels.map(label => {
    const { one, other, images, difference, class: name } = found[label], change = 100 * difference.mean, half = difference.half;
    const text = signed(change, 0) + (half === null ? "" : ` ± ${fixed(100 * half, 0)}`);
    return { class: name, one: mean(one), other: mean(other), text, clear: half !== null && Math.abs(change) > 100 * half, images };
  });
  const ends = classes.flatMap(each => [[first, each.one], [second, each.other]].map(([label, recall]) => ({ class: each.class, label, recall, images: each.images })));
  return { classes, ends };
}

function describeClasses(figure) {
  const found = compareClasses(figure).filter(each => each.images > 0), change = each => each.difference.mean;
  const top = found.reduce((a, b) => Math.abs(change(b)) > Math.abs(change(a)) ? b : a);
  const said = `Recall is higher in ${found.filter(each => change(each) > 0).length} of ${found.length} classes and lower in ${found.filter(each => change(each) < 0).length};`
    + ` the largest change is ${signed(100 * change(top), 0)} points (${top.class}, ${top.images} test images).`;
  return figure.caption.replace(/Recall is higher in .* test images\)\./s, () => said);
}

function unpackRight(run) {
  let size = 0;
  eachCount(run, (is, seen, count) => { size += count; });
  const bytes = atob(run.right);
  return Uint8Array.from({ length: size }, (_, at) => bytes.charCodeAt(at >> 3) >> (7 - at % 8) & 1);
}

function verdictTables(figure) {
  const seeds = splitSeeds(keptPairs(figure), pair => pair[0]), before = study.charts[figure.name][0].datasets.counts;
  if (!seeds.length) return null;
  const [one, other] = [0, 1].map(side => {
    const rights = seeds.map(folds => folds.flatMap(pair => [...unpackRight(pair[side])]));
    return rights[0].map((_, image) => total(rights.map(right => right[image])));
  });
  const full = seeds.length + 1, counts = [...Array(full)].map(() => Array(full).fill(0));
  one.forEach((up, image) => { counts[up][other[image]] += 1; });
  const colourOf = sign => before.find(cell => Math.sign(cell.up - cell.across) === sign).colour;
  const colours = new Map([-1, 0, 1].map(sign => [sign, colourOf(sign)])), top = Math.max(1, ...counts.flatMap((row, up) => row.filter((_, across) => up !== across)));
  return { counts: counts.flatMap((row, up) => row.map((count, across) => {
    const same = up === across, strength = !count ? 0.06 : same ? 0.25 : 0.15 + 0.8 * count / top;
    const ink = !same && strength > 0.6 ? "#ffffff" : before.find(cell => cell.up === cell.across).ink;
    return { up, across, count, text: count.toLocaleString("en"), colour: colours.get(Math.sign(up - across)), strength, ink };
  })) };
}

// Differences of a subset of seeds are not tested: all of them are pale then.
function pairTables(figure) {
  const partial = isPartial(), { name, rising } = study.metric, column = columnOf(name);
  const pairs = study.charts[figure.name][0].datasets.pairs.filter(cell => rowKept[cell.one] && rowKept[cell.other]);
  return { pairs: !partial ? pairs : pairs.flatMap(cell => {
    const common = keptRuns(cell.one).flatMap(run => keptRuns(cell.other).filter(other => other.seed === run.seed && other.images === run.images).map(other => valueOf(run, name) - valueOf(other, name)));
    if (!common.length) return [];
    const gain = (rising ? 1 : -1) * total(common) / common.length;
    const copy = structuredClone(cell);  // without the mark by which Vega knows its own
    return [{ ...copy, gain, text: signed(scaleOf(column) * gain, column.kind === "percent" ? 1 : 3), shown: false, strength: 0.1, colour: "#8c959f", ink: "#6a737d" }];
  }) };
}

// Tables that a filter of seeds changes: each gives the cells of a line, as [text, value] from the given column on.
const cellMakers = {
  classes: line => {
    const label = Number(line.dataset.id), runs = keptRuns(Number(line.closest("table").dataset.rowsOf)), kinds = [["images"], ["predicted"], ["images", "predicted"]];
    const seeds = splitSeeds(runs).map(countClasses);
    const scores = kinds.map((under, kind) => summarize(seeds.map(each => {
      const share = (1 + (kind === 2)) * each.hits[label] / total(under.map(name => each[name][label]));
      return isNaN(share) ? null : share;
    })));
    return [2, scores.map(found => found === null ? ["-", ""] : [writers.percent(found.mean), String(found.mean)])];
  },
  changed: line => {
    const { label, seeds } = JSON.parse(line.dataset.facts), kept = seeds.filter(([one, other]) => runKept[one] && runKept[other]);
    const said = [2, 3].map(side => kept.map(seed => seed[side])), names = study.classes[study.runs[seeds[0][0]].classes];
    const rights = said.map(own => own.filter(each => each === label).length);
    const most = said.map(own => [...new Set(own)].sort((a, b) => own.filter(each => each === b).length - own.filter(each => each === a).length || a - b)[0]);
    if (!kept.length) return [2, Array(4).fill(["-", ""])];
    return [2, [...rights.map(count => [`${count} of ${kept.length}`, String(count)]), ...most.map(each => [names[each], names[each]])]];
  },
};
