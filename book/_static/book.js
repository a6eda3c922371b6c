// The head of each column becomes a button that sorts the table by it: first up, then down.
const NUMBER = /^[^\d\p{L}]*(\d+(?:[.,]\d+)*)/u;

function valueOf(cell) {
  const text = cell.innerText.trim().replace(/^first /, "");
  const found = text.match(NUMBER);
  if (!found) return [text === "" ? 2 : 1, 0, text];
  const sign = /^[-−]/.test(text) ? -1 : 1;
  return [0, sign * Number(found[1].replaceAll(",", "")), text];
}

function compare([kind, number, text], [otherKind, otherNumber, otherText]) {
  return kind - otherKind || number - otherNumber || text.localeCompare(otherText);
}

function sort(table, head) {
  const column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
  rows.sort(([a], [b]) => (down && a[0] === b[0] ? compare(b, a) : compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("main table")) {
  if (!table.tHead || table.tBodies[0].rows.length < 3 || table.closest(".cell_output")) continue;
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    const place = head.querySelector("p") ?? head;
    button.append(...place.childNodes);
    place.append(button);
    button.addEventListener("click", () => sort(table, head));
  }
}

// Names for screen readers, where the theme gives none, or one that is not what is seen.
for (const summary of document.querySelectorAll("nav details > summary")) {
  const page = summary.parentElement.previousElementSibling;
  summary.setAttribute("aria-label", `Pages in ${page.textContent}`);
}
for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
