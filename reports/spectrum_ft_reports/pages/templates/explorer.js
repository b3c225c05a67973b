"use strict";
// The explorer: a unit is lit when its stored percentage is at most the slider's. Nothing is ranked,
// scored or counted here; every text and every percentage was written by the program.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const cells = [...document.querySelectorAll(".cell")].map((cell) => [Number(cell.dataset.unit), cell]);
  const rows = [...document.querySelectorAll("#matrices tbody tr")].map((row) => [Number(row.dataset.unit), row, row.querySelector(".trains")]);
  const [slider, chooser] = [find("share"), find("score")];

  if (slider !== null) {
    const light = () => {
      const share = Number(slider.value);
      const choice = data.choices[Number(chooser.value)];
      const isLit = (unit) => choice.percents[unit] !== null && choice.percents[unit] <= share;
      for (const [unit, cell] of cells) cell.classList.toggle("on", isLit(unit));
      for (const [unit, row, trains] of rows) {
        if (row.classList.contains("on") === isLit(unit)) continue;
        row.classList.toggle("on", isLit(unit));
        trains.textContent = isLit(unit) ? "yes" : "";
      }
      find("share-text").textContent = `${share} %`;
      slider.setAttribute("aria-valuetext", `${share} %`);
      find("said").textContent = data.said[choice.said][share - 1];
      find("command").querySelector("code").textContent = `${data.before}${share}%${choice.option}${data.after}`;
    };
    const colour = () => {
      const choice = data.choices[Number(chooser.value)];
      for (const [unit, cell] of cells) {
        const height = choice.heights[unit];
        cell.classList.toggle("none", height === null);
        if (height === null) cell.style.removeProperty("--v");
        else cell.style.setProperty("--v", `${height}%`);
        const value = choice.values[unit] === "-" ? `no finite ${choice.score}` : `${choice.score} ${choice.values[unit]}`;
        const taken = choice.percents[unit] === null ? "never chosen" : `from ${choice.percents[unit]} %`;
        cell.querySelector("title").textContent = `${data.units[unit][0]}\n${value}, ${taken}`;
      }
      const title = find("heat-title");
      if (title !== null) title.textContent = `${choice.score} by kind and layer`;
      light();
    };
    slider.addEventListener("input", light);
    chooser.addEventListener("input", colour);
    find("explore").hidden = false;
    colour(); // a page that is opened again may remember where the slider was
  }

  const drawing = find("drawing");
  if (drawing === null) return;
  const [svg, member, pointer] = [find("histogram"), find("member"), pointerOf()];

  // The dot in the cell whose spectrum is shown.
  function pointerOf() {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("class", "pointer");
    dot.setAttribute("r", 3);
    return dot;
  }

  const show = (unit, which) => {
    const [, before, after, names, matrices] = data.units[unit];
    const parts = matrices[which].split("|");
    const drawn = parts.pop();
    const texts = parts.map((part) => (part.startsWith("#") ? data.texts[Number(part.slice(1))] : part));
    find("spectrum-name").textContent = before + names[which] + after;
    const facts = [];
    data.facts.forEach((label, i) => {
      const [term, text] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, text.textContent] = [label, texts[i]];
      facts.push(term, text);
    });
    find("spectrum-facts").replaceChildren(...facts);
    // Edge, median and max are the last facts but for the flags.
    const [edge, median, max] = texts.slice(-4, -1);
    if (drawn !== "") histogram(drawing, drawn, { edge, median, max });
    svg.style.display = drawn === "" ? "none" : "";
    find("undrawn").hidden = drawn !== "";
    find("experts").hidden = names.length === 1;
    member.replaceChildren(...(names.length === 1 ? [] : names).map((name, i) => {
      const option = document.createElement("option");
      [option.value, option.textContent, option.selected] = [i, name, i === which];
      return option;
    }));
    member.dataset.unit = unit;
    const found = cells.find(([other]) => other === unit);
    if (found === undefined) pointer.remove();
    else {
      const [cell, at] = [found[1], (name) => parseFloat(found[1].getAttribute(name))];
      pointer.setAttribute("cx", `${at("x") + at("width") / 2}%`);
      pointer.setAttribute("cy", at("y") + at("height") / 2);
      cell.parentElement.append(pointer);
    }
  };
  const showAndLook = (unit, which) => {
    show(unit, which);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    find("spectrum").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  };

  member.addEventListener("input", () => show(Number(member.dataset.unit), Number(member.value)));
  const heat = find("heat");
  if (heat !== null) {
    heat.classList.add("clickable");
    heat.addEventListener("click", (event) => {
      if (event.target.classList.contains("cell")) showAndLook(Number(event.target.dataset.unit), 0);
    });
  }
  for (const [unit, row] of rows) {
    const spark = row.querySelector(".spark");
    if (spark === null) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Show this spectrum";
    if (spark.textContent === "") button.textContent = "show";
    else button.append(...spark.childNodes);
    spark.replaceChildren(button);
    button.addEventListener("click", () => showAndLook(unit, Number(row.dataset.member)));
  }
  for (const hint of document.querySelectorAll(".only-script")) hint.hidden = false;
  show(Number(svg.dataset.unit), Number(svg.dataset.member));
})();
