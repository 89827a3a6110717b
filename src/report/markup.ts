/** Text of people, safe inside HTML. */
export function escaped(value: string): string {
  return value.replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`);
}

/** Its first column names the rows. Head and fields are HTML already. */
export function tableMarkup(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const body = rows.map(
    ([name = "", ...fields]) =>
      `<tr><th scope="row">${name}</th>${fields.map((field) => `<td>${field}</td>`).join("")}</tr>`,
  );
  return `<div class="wide"><table>
<thead><tr>${head.map((name) => `<th scope="col">${name}</th>`).join("")}</tr></thead>
<tbody>${body.join("\n")}</tbody>
</table></div>`;
}

export function section(heading: string, table: string, notes: readonly string[]): string {
  return `<section>
<h2>${escaped(heading)}</h2>
${table}
<p class="note">${notes.map(escaped).join(" ")}</p>
</section>`;
}
