"""What a page owes to everybody: contrast, sizes of targets, roles with names (WCAG 2.2). `ui` is as in `chromium`."""

CONTRAST = r"""(() => {
  const parse = (text) => { const part = text.match(/[\d.]+/g).map(Number); return part.length === 3 ? [...part, 1] : part };
  const over = (top, under) => top.slice(0, 3).map((value, index) => value * top[3] + under[index] * (1 - top[3])).concat(1);
  const light = (color) => { const [r, g, b] = color.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b };
  const background = (node) => {
    const layers = [];
    for (let at = node; at instanceof Element; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const faults = [];
  let count = 0;
  const walker = document.createTreeWalker(ui.querySelector('.frame'), NodeFilter.SHOW_TEXT);
  const check = (node, color, words) => {
    count += 1;
    const style = getComputedStyle(node), under = background(node), ink = over(parse(color), under);
    const [low, high] = [light(ink), light(under)].sort((a, b) => a - b);
    const ratio = (high + .05) / (low + .05);
    const isLarge = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700;
    if (ratio < (isLarge ? 3 : 4.5)) faults.push(`${ratio.toFixed(2)} ${words} (${color} on ${under.slice(0, 3)})`);
  };
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, words = walker.currentNode.data.trim();
    if (!words || !node.checkVisibility() || node.closest('.hidden-text, :disabled, .skip, [inert]')) continue;
    check(node, getComputedStyle(node).color, words);
  }
  for (const field of ui.querySelectorAll('input:placeholder-shown, textarea:placeholder-shown')) {
    if (field.checkVisibility()) check(field, getComputedStyle(field, '::placeholder').color, 'placeholder');
  }
  for (const node of ui.querySelectorAll('.frame svg')) {
    if (node.checkVisibility() && !node.closest(':disabled, [inert]')) check(node.parentElement, getComputedStyle(node).color, 'icon');
  }
  return {faults, count};
})()"""

TARGETS = """[...ui.querySelectorAll('button, a, textarea, input, summary')].filter(e => e.checkVisibility() && !e.closest('.hidden-text, .skip, .text, [inert]'))
  .map(e => [e.id || e.className, e.getBoundingClientRect()]).filter(([, r]) => r.width < 24 || r.height < 24).map(([name]) => name)"""


def check_accessibility(page):
    result = page.run(CONTRAST)
    assert not result["faults"] and result["count"] > 0, f"WCAG 2.2, 1.4.3: {result}"
    small = page.run(TARGETS)
    assert not small, f"WCAG 2.2, 2.5.8: {small}"
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "textbox", "link", "dialog", "form", "log", "heading", "group", "region", "image", "main",
             "searchbox", "tab", "tablist", "tabpanel", "checkbox", "complementary"}
    nameless = [node for node in nodes if not node.get("ignored") and node["role"]["value"] in named
                and not node.get("name", {}).get("value", "").strip()]
    assert not nameless, nameless
    page.call("Accessibility.disable")
    ids = page.run("[...ui.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)), ids
    dangling = page.run("[...ui.querySelectorAll('[aria-labelledby], [aria-controls], [aria-describedby], label[for]')].flatMap(e =>"
                        "['aria-labelledby', 'aria-controls', 'aria-describedby', 'for'].map(a => e.getAttribute(a)).filter(Boolean))"
                        ".filter(id => !ui.getElementById(id))")
    assert not dangling, dangling
