// The API's own description, to be read: what each route takes and gives, and how one asks for it.

import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { get } from "../lib/api.js";
import { answerOf, bodyOf, exampleOf, fits, nameOf, routesOf, shapesIn, typeOf } from "../lib/openapi.js";
import { command } from "../lib/text.js";
import { Empty, Loading, Problem } from "../parts/basics.js";
import { Command } from "../parts/command.js";

export function Description() {
  const [document, setDocument] = useState(null);
  const [error, setError] = useState(null);
  const [text, setText] = useState("");
  useEffect(() => { get("/openapi.json").then(setDocument, setError); }, []);
  const routes = useMemo(() => (document ? routesOf(document) : []), [document]);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = Object.entries(Object.groupBy(routes.filter((each) => fits(each, words)), (each) => each.group));
  return html`<h1>API</h1>
    <${Problem} error=${error} />
    ${!document && !error && html`<${Loading} />`}
    ${document && html`
      <p>${document.info.description} This is <a href="/api/v1/openapi.json">openapi.json</a> of ${document.info.title} ${document.info.version}, OpenAPI ${document.openapi}.
        A key goes as <code>Authorization: Bearer KEY</code>.</p>
      <form role="search" aria-label="API" class="filters" onSubmit=${(event) => event.preventDefault()}>
        <label>Search<br /><input type="search" value=${text} placeholder="path, word, parameter …" onInput=${(event) => setText(event.target.value)} /></label>
      </form>
      <p role="status" class="soft">${groups.reduce((sum, [, each]) => sum + each.length, 0)} of ${routes.length} routes</p>
      ${!groups.length && html`<${Empty}>No route is like that.<//>`}
      ${groups.map(([name, of]) => html`<section key=${name} aria-labelledby=${`group-${name}`}>
        <h2 id=${`group-${name}`}>${name}</h2>
        ${of.map((each) => html`<${Route} key=${each.method + each.path} of=${each} schemas=${document.components.schemas} />`)}
      </section>`)}`}`;
}

/** Its details are made when one opens it. */
function Route({ of, schemas }) {
  const [isOpen, setOpen] = useState(false);
  return html`<details class="route card" onToggle=${(event) => setOpen(event.target.open)}>
    <summary><span class="method" data-method=${of.method}>${of.method}</span> <code>${of.path}</code> <span>${of.operation.summary}</span>
      <small>${of.capability || "open"}</small></summary>
    ${isOpen && html`<${Details} of=${of} schemas=${schemas} />`}
  </details>`;
}

function Details({ of, schemas }) {
  const { parameters } = of.operation;
  const body = bodyOf(of.operation);
  const answer = answerOf(of.operation);
  return html`<p>${of.operation.description.replaceAll("`", "")}</p>
    ${parameters.length > 0 && html`<h3>Parameters</h3><div class="scroll" tabindex="0" role="region" aria-label=${`Parameters of ${of.method} ${of.path}`}><table>
      <thead><tr><th scope="col">Name</th><th scope="col">In</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead>
      <tbody>${parameters.map((each) => html`<tr key=${each.name}><td><code>${each.name}</code></td><td>${each.in}</td><td>${typeOf(each.schema)}</td><td>${each.description}</td></tr>`)}</tbody>
    </table></div>`}
    ${body && html`<h3>Body: ${typeOf(body)}</h3><${Shapes} schema=${body} schemas=${schemas} />`}
    <h3>Answer: ${answer ? typeOf(answer) : "none"}</h3>
    ${answer && html`<${Shapes} schema=${answer} schemas=${schemas} />`}
    <h3>With curl</h3><${Command} label="With curl" text=${curl(of, body, schemas)} />`;
}

/** The shapes that a schema names, each with those within it to be opened. */
const Shapes = ({ schema, schemas, above = [] }) =>
  shapesIn(schema).map((name) => html`<${Shape} key=${name} name=${name} schemas=${schemas} above=${above} isFirst=${!above.length && Boolean(nameOf(schema))} />`);

function Shape({ name, schemas, above, isFirst }) {
  const [isOpen, setOpen] = useState(isFirst);
  const schema = schemas[name] ?? {};
  return html`<details class="shape" open=${isOpen} onToggle=${(event) => setOpen(event.target.open)}>
    <summary>${name}</summary>
    ${isOpen && html`
      ${schema.description && html`<p class="soft">${schema.description}</p>`}
      ${schema.properties && html`<div class="scroll" tabindex="0" role="region" aria-label=${name}><table>
        <thead><tr><th scope="col">Field</th><th scope="col">Type</th><th scope="col">Unless said</th></tr></thead>
        <tbody>${Object.entries(schema.properties).map(([field, of]) => html`<tr key=${field}><td><code>${field}</code></td><td>${typeOf(of)}</td>
          <td>${schema.required?.includes(field) ? "has to be said" : "default" in of ? html`<code>${JSON.stringify(of.default)}</code>` : ""}</td></tr>`)}</tbody>
      </table></div>`}
      ${!above.includes(name) && Object.values(schema.properties ?? {}).flatMap(shapesIn).filter((each, at, all) => all.indexOf(each) === at && each !== name)
        .map((each) => html`<${Shape} key=${each} name=${each} schemas=${schemas} above=${[...above, name]} />`)}`}
  </details>`;
}

function curl({ method, path, operation }, body, schemas) {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => name.toUpperCase());
  const words = ["curl", ...(method === "GET" ? [] : ["-X", method])];
  const key = operation.security.length ? ' -H "Authorization: Bearer $TARPON_API_KEY"' : "";
  const sent = body ? ` -H 'Content-Type: application/json' \\\n  -d ${command(JSON.stringify(exampleOf(body, schemas)))}` : "";
  return `${words.join(" ")}${key}${sent} ${command(location.origin + filled)}`;
}
