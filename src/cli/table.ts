/** Rows of text as columns, two spaces between; the first row is the head. Columns of numbers are set right. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...rows.map((row) => row[i]?.length ?? 0)),
  );
  const right = widths.map((_, i) =>
    rows.slice(1).every((row) => /^[-+]?[\d.]/.test(row[i] ?? "0") || row[i] === "-"),
  );
  const lines = rows.map((row) =>
    widths
      .map((width, i) => (right[i] === true ? (row[i] ?? "").padStart(width) : (row[i] ?? "").padEnd(width)))
      .join("  ")
      .trimEnd(),
  );
  return lines.join("\n");
}
