// What a run opens to: its facts, curve, confusions, strategy, and the command that runs it again.
const dialog = document.getElementById("run");
const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), text === undefined ? {} : { textContent: text }, more);

function openRun(run) {
  const row = study.rows[run.row];
  const close = make("button", "Close", { type: "button", className: "close" });
  close.addEventListener("click", () => dialog.close());
  const list = make("dl");
  const add = (name, text) => list.append(make("dt", name), make("dd", text));
  add("row", row.name);
  add("seed", run.seed);
  if (run.differs) add("differs in", run.differs);
  study.columns.forEach((column, at) => {
    if (run.values[at] !== null) add(column.title, writers[column.kind](run.values[at]));
  });
  if (run.wandb) add("W&B", run.wandb);
  const folder = make("p");
  folder.append(make("a", "Its folder", { href: run.href }), " · ", make("a", "result.json", { href: run.href + "result.json" }), " · ", make("a", "train.log", { href: run.href + "train.log" }));
  dialog.replaceChildren(close, make("h2", run.name, { id: "run-name" }), folder, list);
  if (run.command) addCommand(run.command);
  addPhases(run);
  const pictures = make("div", undefined, { className: "grid" });
  dialog.append(pictures);
  addMistakes(run);
  addFigures(run);
  dialog.showModal();
  if (window.vegaEmbed) addCharts(run, pictures);
  dialog.dispatchEvent(new CustomEvent("run", { detail: run }));
}

function addCommand(command) {
  const copy = make("button", "Copy", { type: "button" });
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    copy.textContent = "Copied";
  });
  const heading = make("h3", "The command that runs it again ");
  heading.append(copy);
  dialog.append(heading, make("pre", command, { tabIndex: 0 }));
}

function addPhases(run) {
  const phases = study.phases[run.phases];
  if (!phases.length) return;
  const table = make("table"), body = make("tbody"), head = make("tr");
  for (const title of ["phase", "kind", "what learns, at which rate", "epochs"]) head.append(make("th", title, { scope: "col" }));
  const top = make("thead");
  top.append(head);
  for (const phase of phases) {
    const line = make("tr");
    for (const text of phase) line.append(make("td", text, { className: "wrap" }));
    body.append(line);
  }
  table.append(top, body);
  const box = make("div", undefined, { className: "scroll", tabIndex: 0 });
  box.append(table);
  watchWidth(box);
  dialog.append(make("h3", "Strategy"), box);
}

function addMistakes(run) {
  if (!run.mistakes || !run.mistakes.length) return;
  const names = study.classes[run.classes], list = make("ul", undefined, { className: "cards" });
  for (const [row, said, sure] of run.mistakes) {
    const key = study.images[run.images] + "-" + row, [name, label, href] = study.shown[key], card = make("li", undefined, { title: name });
    const there = document.querySelector(`main img[data-image="${key}"]`), [source, coarse] = there ? [there.src, there.classList.contains("coarse")] : study.pictures[key] || [];
    if (source) card.append(make("img", undefined, { src: source, alt: `${name}, of class ${names[label]}`, className: coarse ? "view0 coarse" : "view0" }));
    card.append(make("span", "is " + names[label]), make("span", `says ${names[said]}` + (sure === null ? "" : ` (${sure} %)`)));
    const line = make("span", href ? undefined : name, { className: "name" });
    if (href) line.append(make("a", name, { href }));
    card.append(line);
    list.append(card);
  }
  dialog.append(make("h3", run.mistakes[0][2] === null ? "Mistakes" : "Most confident mistakes"), list);
  if (study.missing) dialog.append(make("p", `Pictures are missing: ${study.missing}.`, { className: "note" }));
}

function addFigures(run) {
  if (!run.figures) return;
  const list = make("ul", undefined, { className: "figures" });
  for (const [name, href, source] of run.figures) {
    const line = make("li"), link = make("a", name, { href });
    if (source) link.prepend(make("img", undefined, { src: source, alt: "" }));
    line.append(link);
    list.append(line);
  }
  dialog.append(make("h3", "Pictures in its folder"), list);
}

async function addCharts(run, pictures) {
  const curves = figures.find(figure => figure.kind === "curves" && figure.rows.includes(run.row));
  if (curves && run.curve) await addChart(pictures, study.charts[curves.name][0], curveTables([run.row], () => [run]), "Learning curve");
  const names = study.classes[run.classes], own = figures.find(figure => figure.kind === "confusion" && runsOf[figure.rows[0]][0].classes === run.classes);
  if (own && run.confusion) await addChart(pictures, study.charts[own.name][0], confusionTables([run]), "Confusion matrix");
  else if (run.worst) {
    const list = make("ol");
    for (let at = 0; at < Math.min(45, run.worst.length); at += 3) {
      const [is, seen, count] = run.worst.slice(at, at + 3);
      list.append(make("li", `${names[is]} for ${names[seen]}: ${count} images`));
    }
    const part = make("div");
    part.append(make("h3", "Most often taken"), list);
    pictures.append(part);
  }
}

async function addChart(pictures, chart, tables, title) {
  const spec = dress(structuredClone(chart), 400), figure = make("figure"), element = make("div", undefined, { className: "chart" });
  spec.title = title;
  for (const name of Object.keys(spec.datasets)) spec.datasets[name] = tables[name] || [];
  if (tables.levels && tables.levels.length && !spec.datasets.levels) return;
  for (const layer of spec.layer) for (const channel of ["color", "shape"]) if (layer.encoding && layer.encoding[channel]) layer.encoding[channel].legend = null;
  figure.append(element);
  pictures.append(figure);
  await vegaEmbed(element, spec, OPTIONS);
  nameMenu(element);
}

runTable.addEventListener("click", event => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openRun(study.runs[Number(link.closest("tr").dataset.id)]);
});
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

// While a sweep runs, `compare --watch` writes the page anew: a small script beside it tells of a newer one.
function watchForNewer(stamp) {
  let touched = false;
  for (const event of ["pointerdown", "keydown", "scroll"]) addEventListener(event, () => { touched = true; }, { once: true, passive: true });
  setInterval(() => {
    const script = make("script", undefined, { src: "stamp.js?" + Date.now() });
    script.onload = () => {
      script.remove();
      if (window.newest === stamp) return;
      if (touched) document.getElementById("newer").hidden = false; else location.reload();
    };
    script.onerror = () => script.remove();
    document.head.append(script);
  }, 4000);
}
