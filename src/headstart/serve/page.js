// Sends an image to this machine's own server, and shows its answer. Text is set as text, never as HTML.
"use strict";

const drop = document.getElementById("drop");
const input = drop.querySelector("input");
const result = document.getElementById("result");
const most = Number(document.querySelector("main").dataset.most); // bytes; the server refuses more, too
let asked = 0; // only the last image's answer is shown

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  return element;
}

function showError(sentence) {
  result.replaceChildren(make("p", sentence, { class: "error" }));
}

function makePicture(source, words) {
  const figure = make("figure", "");
  figure.append(make("img", "", { src: source, alt: words }), make("figcaption", words));
  return figure;
}

function makeTable(answer) {
  const table = make("table", "");
  table.append(make("caption", answer.calibrated ? "Calibrated probabilities" : "Probabilities, not calibrated"));
  answer.labels.forEach((label, at) => {
    const share = answer.probabilities[at];
    const row = table.insertRow();
    row.append(make("th", label, { scope: "row" }));
    if (share === null) return;
    row.insertCell().append(make("meter", "", { min: 0, max: 1, value: share, "aria-label": label }));
    row.append(make("td", `${(100 * share).toFixed(1)} %`, { class: "number" }));
  });
  return table;
}

function show(answer) {
  const parts = [];
  if (answer.unlike) {
    parts.push(make("p", "This image is unlike the training images: do not rely on the answer.", { class: "warning" }));
  }
  const pictures = make("div", "", { class: "pictures" });
  pictures.append(makePicture(answer.seen, "What the network sees"));
  if (answer.overlay) {
    pictures.append(makePicture(answer.overlay, `Orange speaks for ${answer.labels[0]}, purple against it`));
  }
  result.replaceChildren(...parts, pictures, makeTable(answer));
}

async function ask(file) {
  const mine = ++asked;
  if (file.size > most) {
    showError(`This file is too large: ${most / 1e6} MB are the most.`);
    return;
  }
  result.classList.add("busy");
  try {
    const response = await fetch("answer", { method: "POST", body: file });
    const answer = await response.json();
    if (mine === asked) (answer.error ? showError(answer.error) : show(answer));
  } catch {
    if (mine === asked) showError("No answer: is headstart serve still running?");
  } finally {
    if (mine === asked) result.classList.remove("busy");
  }
}

input.addEventListener("change", () => input.files.length && ask(input.files[0]));
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) ask(event.dataTransfer.files[0]);
});
document.querySelectorAll("#examples button").forEach((button) => {
  button.addEventListener("click", async () => {
    ask(await (await fetch(`examples/${button.dataset.at}`)).blob());
    result.scrollIntoView({ block: "nearest" });
  });
});
