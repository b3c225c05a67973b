"""What tests ask of an open page, as functions that the browser evaluates."""

TEXT_CONTRASTS = r"""() => {
  // [text, contrast, enough] of every text that shows against what lies behind it (WCAG 2.2, 1.4.3)
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => top.slice(0, 3).map(
    (c, i) => c * top[3] / 255 + below[i] * (1 - top[3] / 255));
  const luminance = rgb => rgb.slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = rgba(getComputedStyle(document.documentElement).backgroundColor);
  const behind = (element, x, y) => {
    let colours = [];
    for (const below of document.elementsFromPoint(x, y)) {
      if (element.contains(below) && below !== element) continue;
      const style = getComputedStyle(below);
      const drawn = below instanceof SVGElement;
      if (drawn && (below === element || below.tagName === 'svg')) continue;
      if (drawn && style.fill === 'none') continue;
      const colour = rgba(drawn ? style.fill : style.backgroundColor);
      if (colour[3] > 0) colours.push(colour);
      if (colour[3] === 255) break;
    }
    return colours.reverse().reduce((below, colour) => [...over(colour, below), 255], paper);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || ['SCRIPT', 'STYLE', 'title', 'desc'].includes(element.tagName)) continue;
    if (!element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + Math.min(box.height / 2, 8)];
    if (box.width === 0 || x < 0 || y < 0 || x > innerWidth || y > innerHeight) continue;
    const style = getComputedStyle(element);
    const background = behind(element, x, y);
    const ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), background);
    const [a, b] = [luminance(ink), luminance(background)].sort((m, n) => n - m);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const drawing = /^[\u2580-\u259f\s]+$/.test(text);  // a sparkline is a picture (1.4.11)
    found.push([text.slice(0, 60), (a + 0.05) / (b + 0.05), large || drawing ? 3 : 4.5]);
  }
  return found;
}"""

SIDEWAYS = """() => {
  // What is wider than the window, of everything that does not scroll by itself
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll('body *')].filter(element => {
    if (element.getBoundingClientRect().right <= width + 1) return false;
    for (let at = element; at; at = at.parentElement)
      if (getComputedStyle(at).overflowX !== 'visible') return false;
    return true;
  });
  const named = wide.slice(0, 5).map(e => `${e.tagName}.${e.getAttribute('class') ?? ''}`);
  return document.documentElement.scrollWidth > width ? [`${width}`, ...named] : [];
}"""

CLIPPED = """() => [...document.querySelectorAll('body *')].filter(element =>
  // Elements that cut off what is in them, without a way to scroll to it or to be told
  element.checkVisibility() && !(element.title && element.textContent.includes(element.title))
  && ['hidden', 'clip'].includes(getComputedStyle(element).overflowX)
  && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 1
).map(e => `${e.tagName}.${e.getAttribute('class') ?? ''}: ${e.textContent.trim().slice(0, 60)}`)"""

UNNAMED = """() => {
  // Controls and pictures that a screen reader would have no name for
  const named = element => (element.getAttribute('aria-label') || element.textContent.trim()
    || (element.getAttribute('aria-labelledby') || '').split(' ').map(
      id => document.getElementById(id)?.textContent ?? '').join('').trim()
    || [...(element.labels ?? [])].map(label => label.textContent).join('').trim());
  return [...document.querySelectorAll('button, input, select, a[href], [role=img], summary')]
    .filter(element => element.checkVisibility() && !named(element))
    .map(element => element.outerHTML.slice(0, 120));
}"""
