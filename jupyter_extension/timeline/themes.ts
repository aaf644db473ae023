// Whose colours the timeline has: what the front end says, or else what it looks like.

/** Attributes by which front ends say how they look. */
const THEMED = ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "data-theme", "class", "theme"];

/** What a front end looks like. `home`: whose variables are there; `calm`: nothing should move. */
interface Looks {
  home: "jupyter" | "vscode" | "";
  dark: boolean;
  calm: boolean;
}

/** Give `box` the classes of the front end's looks, now and whenever they change; returns what ends it. */
export function wear(box: HTMLElement, changed: () => void): () => void {
  const theme = (): void => {
    const { home, dark, calm } = looks();
    const classes = { dark, calm, jupyter: home === "jupyter", vscode: home === "vscode" };
    for (const [name, is] of Object.entries(classes)) box.classList.toggle(name, is);
    changed();
  };
  const observer = new MutationObserver(theme);
  for (const one of [document.body, document.documentElement]) {
    observer.observe(one, { attributes: true, attributeFilter: THEMED });
  }
  theme();
  return () => observer.disconnect();
}

function looks(): Looks {
  const { body, documentElement } = document;
  const calm = body.classList.contains("vscode-reduce-motion");
  const light = body.dataset.jpThemeLight;
  if (light) return { home: "jupyter", dark: light === "false", calm };
  const kinds = ["vscode-dark", "vscode-light", "vscode-high-contrast"];
  const kind = body.dataset.vscodeThemeKind || kinds.find((name) => body.classList.contains(name));
  if (kind) return { home: "vscode", dark: kind === "vscode-dark" || kind === "vscode-high-contrast", calm };
  const said = documentElement.getAttribute("theme"); // Colab
  if (said === "dark" || said === "light") return { home: "", dark: said === "dark", calm };
  return { home: "", dark: isDark([body, documentElement]), calm };
}

/** By the first background that can be seen. */
function isDark(elements: HTMLElement[]): boolean {
  const found = elements
    .map((el) => /rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?/.exec(getComputedStyle(el).backgroundColor))
    .find((one) => one && one[4] !== "0");
  return Boolean(found && Number(found[1]) + Number(found[2]) + Number(found[3]) < 300);
}
