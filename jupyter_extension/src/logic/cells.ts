// What a notebook's cells say about runs: which are durable, which one is a run's, which prepare it.

export interface CellLike {
  id: string;
  source: string;
  type: string;
}

interface RunLike {
  name: string;
  cell: string | null;
}

/** Options of `%%durable` that take a value. */
const VALUED = new Set([
  "--resume", "--replay", "--rerun-from", "--tool", "--store", "--capture", "--ignore-host",
  "--budget", "--max-steps", "--deadline", "--approve", "--park-after",
]); // prettier-ignore

/** The words of a line, as a shell splits them. */
export function words(line: string): string[] {
  const found: string[] = [];
  for (const [, double, single, plain] of line.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g)) {
    found.push(double !== undefined ? double.replace(/\\(.)/g, "$1") : (single ?? plain ?? ""));
  }
  return found;
}

/** What follows `%%durable` on a cell's first line; null: no durable cell. */
export function durableLine(source: string): string | null {
  const found = /^%%durable(?:[ \t]+(.*))?$/.exec(source.split("\n", 1)[0]?.trimEnd() ?? "");
  return found ? (found[1] ?? "").trim() : null;
}

export const isDurable = (cell: CellLike): boolean => cell.type === "code" && durableLine(cell.source) !== null;

/** The name on a durable cell's first line; null: there is none. */
export function nameOf(source: string): string | null {
  const given = words(durableLine(source) ?? "");
  for (let at = 0; at < given.length; at++) {
    const word = given[at] ?? "";
    if (VALUED.has(word)) at++;
    else if (!word.startsWith("-")) return word;
  }
  return null;
}

/** What on the first line keeps a cell from resuming its newest run; null: nothing. */
export function inTheWay(source: string): string | null {
  return words(durableLine(source) ?? "").find((word) => /^--(new|replay|resume|rerun-from)(=|$)/.test(word)) ?? null;
}

/** Whether a run is this cell's: by the name on its first line, else by its id. */
export function isOf(run: RunLike, cell: CellLike): boolean {
  if (!isDurable(cell)) return false;
  const name = nameOf(cell.source);
  return name !== null ? name === run.name : run.cell !== null && run.cell === cell.id;
}

/** The place of a run's cell; -1: it is not there any more. Of two of one name, that with its id. */
export function placeOf(run: RunLike, cells: CellLike[]): number {
  const places = cells.map((cell, at) => (isOf(run, cell) ? at : -1)).filter((at) => at >= 0);
  return places.find((at) => cells[at]?.id === run.cell) ?? places[0] ?? -1;
}

/** The cells that prepare the one at `place`: the code above it, other durable cells left out. */
export function setUp(cells: CellLike[], place: number): number[] {
  return cells
    .map((_, at) => at)
    .filter((at) => {
      const cell = cells[at];
      return at < place && cell?.type === "code" && cell.source.trim() !== "" && !isDurable(cell);
    });
}

/** The names that a resume could not bring back, as its cell's outputs tell. */
export function missing(outputs: string[]): string[] {
  const found = new Set<string>();
  for (const text of outputs) {
    for (const [, name] of text.matchAll(/not restored: ([^\s:]+):/g)) if (name) found.add(name);
  }
  return [...found];
}

/** A name for a cell's run that no other cell has. */
export function freeName(cells: CellLike[], base = "run"): string {
  const taken = new Set(cells.map((cell) => (isDurable(cell) ? nameOf(cell.source) : null)));
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base}-${n}`;
    if (!taken.has(name)) return name;
  }
}

/** A cell's source as a durable one, with the defaults of the settings. */
export function madeDurable(source: string, name: string, capture: string[]): string {
  if (durableLine(source) !== null) return source;
  const all = ["tools", "models", "http", "mcp"];
  const chosen = all.filter((what) => capture.includes(what));
  const flags = chosen.length === all.length ? "" : chosen.length ? ` --capture ${chosen.join(",")}` : " --no-capture";
  return `%%durable ${name}${flags}\n${source}`;
}
