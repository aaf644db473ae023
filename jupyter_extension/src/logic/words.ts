// Figures for people.

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

/** How long ago, in the reader's language. Both in POSIX seconds. */
export function ago(then: number, now: number, language?: string): string {
  const seconds = Math.max(0, now - then);
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  for (const [unit, size] of UNITS) if (seconds >= size) return format.format(-Math.floor(seconds / size), unit);
  return format.format(0, "second");
}

/** USD. */
export function money(usd: number): string {
  if (!usd) return "";
  return usd >= 0.01 ? `$${usd.toFixed(2)}` : `$${Number(usd.toPrecision(2))}`;
}

/** The last part of a path. */
export const fileName = (path: string): string => path.split("/").pop() ?? path;
