// Figures and names as people read them.

const UNITS: [unit: string, size: number, below: string, part: number][] = [
  ["d", 86400, "h", 3600],
  ["h", 3600, "min", 60],
  ["min", 60, "s", 1],
];

/** Seconds, in at most two units. */
export function span(s: number): string {
  if (!(s >= 0)) return "";
  if (s < 0.001) return `${(s * 1000).toFixed(1)} ms`;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s.toFixed(1)} s`;
  const whole = Math.floor(s);
  for (const [unit, size, below, part] of UNITS) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / part);
      return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${below}` : ""}`;
    }
  }
  return "";
}

/** USD. */
export function money(usd: number): string {
  if (!usd) return "$0";
  return usd >= 0.01 ? `$${usd.toFixed(2)}` : `$${Number(usd.toPrecision(2))}`;
}

/** A number that may be large, in four letters or so. */
export function count(n: number): string {
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)}M`;
  if (n >= 1e4) return `${Math.round(n / 1e3)}k`;
  return n >= 1e3 ? `${(n / 1e3).toFixed(1)}k` : String(n);
}

/** A number in full. */
export const figure = (n: number): string => n.toLocaleString("en");

/** As much of a run's id as people need to type. */
export const short = (id: string): string => id.slice(0, 13);

/** What an error says. */
export const reason = (error: unknown): string => String((error as Partial<Error> | null)?.message || error);
