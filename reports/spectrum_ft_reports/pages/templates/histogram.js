"use strict";
// The histogram of a matrix: the same drawing as the page comes with, see spectra.py. The axis is in
// bins: 16 a decade, the largest value at 64.
const histogram = (() => {
  const svgName = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, text) => {
    const element = document.createElementNS(svgName, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const place = (value, largest) => 64 + 16 * Math.log10(value / largest);

  const bars = (counts, peak, low, high) => counts.map(([bin, count]) => {
    const [left, right] = [Math.max(bin + 0.06, low), Math.min(bin + 0.94, high)];
    const top = 100 - Math.max(1.5, 100 * Math.sqrt(count / peak));
    return left < right ? `M${left} 100V${top}H${right}V100Z` : "";
  }).join("");

  const roundValue = (step, power) => {
    if (power < -4 || power > 4) return `${step}e${power}`;
    return power >= 0 ? `${step}${"0".repeat(power)}` : `0.${"0".repeat(-power - 1)}${step}`;
  };

  const countMarks = (peak) => {
    const marks = [];
    for (let power = 9; power >= 0; power -= 1) {
      for (const step of [5, 2, 1]) {
        const count = step * 10 ** power;
        const at = 100 - 100 * Math.sqrt(count / peak);
        if (count <= peak && at <= 90 && (marks.length === 0 || at - marks.at(-1)[0] >= 18)) {
          marks.push([at, count.toLocaleString("en")]);
        }
      }
    }
    return marks;
  };

  // `figures` are the texts of edge, median and max; `drawn` is what `compact` in spectra.py wrote.
  return (group, drawn, figures) => {
    const [edgeText, list] = drawn.split(":");
    const [first, ...numbers] = list.split(",").map(Number);
    const edge = edgeText === "" ? null : Number(edgeText);
    const counts = numbers.map((count, i) => [first + i, count]).filter(([, count]) => count > 0);
    const peak = Math.max(...numbers);
    const largest = Number(figures.max);
    const begin = Math.min(Math.floor(Math.min(first, edge ?? 64) / 16), 3) * 16;
    const end = 64 + (edge !== null && edge > 65 ? 4.5 : 2);
    const percent = (at) => `${(100 * (at - begin)) / (end - begin)}%`;
    const parts = [];
    for (const [at, text] of countMarks(peak)) {
      parts.push(make("line", { class: "grid", x1: 0, x2: "100%", y1: 56 + 1.6 * at, y2: 56 + 1.6 * at }));
      parts.push(make("text", { class: "count", x: 0, y: 52 + 1.6 * at }, text));
    }
    const plot = make("svg", { x: 0, y: 56, width: "100%", height: 160, viewBox: `${begin} 0 ${end - begin} 100`, preserveAspectRatio: "none" });
    const split = edge ?? begin;
    plot.append(make("path", { class: "noise", d: bars(counts, peak, 0, split) }));
    plot.append(make("path", { class: "above", d: bars(counts, peak, split, end) }));
    parts.push(plot, make("line", { class: "axis", x1: 0, x2: "100%", y1: 216, y2: 216 }));
    const top = Math.log10(largest);
    for (let power = Math.floor(top) - 5; power < Math.floor(top) + 2; power += 1) {
      for (const step of begin >= 32 ? [1, 2, 5] : [1]) {
        const at = 64 + 16 * (power + Math.log10(step) - top);
        if (at < begin || at > end) continue;
        parts.push(make("line", { class: "axis", x1: percent(at), x2: percent(at), y1: 216, y2: 221 }));
        parts.push(make("text", { class: "value", x: percent(at), y: 235 }, roundValue(step, power)));
      }
    }
    const marks = edge === null ? [] : [["edge", edge]];
    for (const name of ["median", "max"]) {
      const at = place(Number(figures[name]), largest);
      if (at >= begin) marks.push([name, at]);
    }
    const part = (at) => (at - begin) / (end - begin);
    const lowest = Math.min(...marks.map(([, at]) => at));
    marks.forEach(([name, at], row) => {
      const isLeft = part(at) > 0.75 || (at === lowest && part(at) > 0.25);
      parts.push(make("line", { class: `mark ${name}`, x1: percent(at), x2: percent(at), y1: 4 + 17 * row, y2: 216 }));
      parts.push(make("text", { class: isLeft ? "named end" : "named", x: percent(at), y: 14 + 17 * row, dx: isLeft ? -6 : 6 }, `${name} ${figures[name]}`));
    });
    group.replaceChildren(...parts);
  };
})();
