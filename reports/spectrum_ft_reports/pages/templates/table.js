"use strict";
// Tables of the class "sortable": a click on a header sorts, the field before a table filters it.
// A cell's data-sort is what it sorts by, where that is not its text.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort ?? cell.textContent.trim();
  };
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    const numeric = a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y);
    return numeric ? x - y : a.localeCompare(b, undefined, { numeric: true });
  };
  const sort = (header, column) => {
    const down = header.getAttribute("aria-sort") === "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    // Rows without a value stay at the end, whichever way.
    const empty = ([text]) => text === "" || text === "-";
    rows.sort((a, b) => empty(a) - empty(b) || (down ? 1 : -1) * compare(a[0], b[0]));
    body.append(...rows.map(([, row]) => row));
  };
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header, column));
    header.append(button);
  });
  const field = document.querySelector(`input[data-filters="${table.id}"]`);
  if (field === null) continue;
  const count = document.querySelector(`[data-counts="${table.id}"]`);
  (field.closest("[hidden]") ?? field).hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += !row.hidden;
    }
    if (count !== null) count.textContent = `${left.toLocaleString("en")} of ${body.rows.length.toLocaleString("en")}`;
  });
}
