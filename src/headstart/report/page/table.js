// The filter bar, and the tables' share in it.
const bar = document.getElementById("filter"), note = document.getElementById("subset");
const summary = document.getElementById("summary"), runTable = document.getElementById("runs");
const columnNames = [...summary.tHead.rows[0].cells].map(cell => cell.dataset.column);
const readCells = lines => new Map([...lines].map(line => [line, [...line.cells].map(cell => [cell.textContent, cell.dataset.value])]));
const original = readCells(summary.tBodies[0].rows), made = readCells(document.querySelectorAll("table[data-kind] tbody tr"));
const parts = [...document.querySelectorAll("[data-about]")].map(part => [part, numbersOf(part.dataset.about)]);

function refreshTables() {
  const whole = isEverySeed() && soughtText === "";
  for (const row of summary.tBodies[0].rows) {
    const id = Number(row.dataset.id);
    row.hidden = !rowKept[id];
    if (row.hidden) continue;
    [...row.cells].forEach((cell, at) => {
      const name = columnNames[at];
      if (!name) return;
      setCell(cell, ...(whole ? original.get(row)[at] : cellOf(id, name, original.get(row)[at][0])));
    });
  }
  for (const row of runTable.tBodies[0].rows) row.hidden = !runKept[Number(row.dataset.id)];
  for (const [part, rows] of parts) part.hidden = !rows.every(row => rowKept[row]);
  for (const [line, cells] of made) {
    const [from, found] = isPartial() ? cellMakers[line.closest("table").dataset.kind](line) : [0, cells];
    found.forEach(([text, value], at) => setCell(line.cells[from + at], text, value));
  }
}

function setCell(cell, text, value) {
  if (cell.textContent !== text) cell.textContent = text;
  cell.dataset.value = value;
}

function cellOf(row, name, before) {
  if (name === "n") return [String(keptRuns(row).length), String(keptRuns(row).length)];
  const found = summarize(keptRuns(row).map(run => valueOf(run, name))), write = writers[columnOf(name).kind];
  if (found === null) return ["-", ""];
  const bound = before.startsWith("≥ ") ? "≥ " : "";
  const half = name !== study.metric.name ? "" : " ± " + (found.half === null ? "-" : write(found.half));
  return [bound + write(found.mean) + half, String(found.mean)];
}

function describeSubset() {
  if (isWhole()) return "";
  const rows = rowKept.filter(Boolean).length, runs = runKept.filter(Boolean).length;
  return `This is a subset: ${rows} of ${study.rows.length} rows, ${runs} of ${study.runs.length} runs. The decision above, the tests and whatever is marked so are of the whole study.`;
}

async function filter() {
  applyFilter();
  refreshTables();
  note.textContent = describeSubset();
  document.body.classList.toggle("subset", !isWhole());
  document.body.classList.toggle("partial", isPartial());
  bar.querySelectorAll("fieldset").forEach(set => {
    const at = Number(set.dataset.dim), all = study.dims[at].values.length;
    set.parentElement.querySelector(".count").textContent = kept[at].size === all ? "" : ` ${kept[at].size} of ${all}`;
  });
  await refreshCharts();
}

if (bar) {
  bar.hidden = false;
  bar.querySelectorAll("input[type=checkbox]").forEach(box => { box.defaultChecked = true; });
  bar.addEventListener("submit", event => event.preventDefault());
  bar.addEventListener("change", event => {
    const set = event.target.closest("fieldset");
    if (!set) return;
    kept[Number(set.dataset.dim)][event.target.checked ? "add" : "delete"](Number(event.target.value));
    filter();
  });
  bar.addEventListener("click", event => {
    const button = event.target.closest("button[data-all]");
    if (!button) return;
    const set = button.closest("fieldset"), at = Number(set.dataset.dim);
    kept[at].clear();
    for (const box of set.querySelectorAll("input")) {
      box.checked = button.dataset.all === "1";
      if (box.checked) kept[at].add(Number(box.value));
    }
    filter();
  });
  bar.addEventListener("input", event => { if (event.target.id === "text") { soughtText = event.target.value.trim(); filter(); } });
  bar.addEventListener("reset", () => {
    kept.forEach((values, at) => study.dims[at].values.forEach((_, value) => values.add(value)));
    soughtText = "";
    setTimeout(filter);
  });
  document.addEventListener("click", event => {
    for (const open of bar.querySelectorAll("details[open]")) if (!open.contains(event.target)) open.open = false;
  });
  bar.addEventListener("keydown", event => {
    const open = event.target.closest("details[open]");
    if (event.key === "Escape" && open) { open.open = false; open.querySelector("summary").focus(); }
  });
}

// A wide table says that it goes on.
function hint(box) {
  box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 4);
}
function watchWidth(box) {
  hint(box);
  box.addEventListener("scroll", () => hint(box), { passive: true });
  new ResizeObserver(() => hint(box)).observe(box);
}
document.querySelectorAll(".scroll").forEach(watchWidth);
