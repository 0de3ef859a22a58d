// The frame of the page: who is signed in, where one is, and the view of that place.

import { html, render, useEffect, useState } from "./vendor/preact.js";
import { get, remove, useSession, whenSignedOut } from "./lib/api.js";
import { linkTo, placeOf, usePlace } from "./lib/hooks.js";
import { Loading, Problem } from "./parts/basics.js";
import { later } from "./parts/later.js";
import { SignIn } from "./views/sign_in.js";

const Job = later(() => import("./views/job.js"), "Job");
const Jobs = later(() => import("./views/jobs.js"), "Jobs");
const Submit = later(() => import("./views/submit.js"), "Submit");
const Nodes = later(() => import("./views/nodes.js"), "Nodes");
const Cluster = later(() => import("./views/cluster.js"), "Cluster");
const Access = later(() => import("./views/access.js"), "Access");
const Description = later(() => import("./views/description.js"), "Description");

const VIEWS = [
  ["jobs", "Jobs", (place) => (place.parts.length > 1 ? Job : Jobs)],
  ["submit", "Submit", () => Submit],
  ["nodes", "Nodes", () => Nodes],
  ["cluster", "Cluster", () => Cluster],
  ["access", "Access", () => Access],
  ["api", "API", () => Description],
];
const THEMES = ["auto", "light", "dark"];

function Frame() {
  const place = usePlace();
  const [session, setSession] = useState(null);
  const [error, setError] = useState(null);
  const take = (found) => { useSession(found); setSession(found); setError(null); };
  const look = () => get("/auth/session").then(take, setError);
  useEffect(() => { whenSignedOut(look); look(); }, []);
  if (error && !session) return html`<main id="main"><${Problem} error=${error} /></main>`;
  if (!session) return html`<main id="main"><${Loading} /></main>`;
  const isSignIn = place.parts[0] === "sign-in";
  if (isSignIn || !(session.SignedIn || session.Anonymous)) {
    const done = (found) => { take(found); if (isSignIn) location.replace(linkTo(place.query.to?.split("/") ?? ["jobs"])); };
    return html`<${SignIn} link=${place.query.link} session=${session} onDone=${done} />`;
  }
  const [name, View] = viewAt(place);
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to content</a>
    <header class="frame">
      <a class="brand" href="#/jobs"><img src="/page/icon.svg" alt="" width="24" height="24" /> Tarpon</a>
      <nav aria-label="Views">
        ${VIEWS.map(([each, label]) => html`<a key=${each} href=${linkTo([each])}
          aria-current=${each === name ? "page" : undefined}>${label}</a>`)}
      </nav>
      <div class="who">
        <${Theme} />
        ${session.SignedIn && html`<span title=${session.Name}>${session.Name}</span>
          <button onClick=${() => { sessionStorage.clear(); remove("/auth/session").then(look, setError); }}>Sign out</button>`}
      </div>
    </header>
    <main id="main" tabindex="-1"><${View} place=${place} session=${session} /></main>
  `;
}

/** The name of the view of a place, and the view. */
function viewAt(place) {
  const [name, , choose] = VIEWS.find(([each]) => each === place.parts[0]) ?? VIEWS[0];
  return [name, choose(place)];
}

/** The address is the place, so a link within the page is followed by hand. */
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function Theme() {
  const [theme, setTheme] = useState(() => localStorage.getItem("theme") ?? "auto");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
  }, [theme]);
  return html`<select aria-label="Theme" value=${theme} onChange=${(event) => setTheme(event.target.value)}>
    ${THEMES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
  </select>`;
}

/** Results may be in a bucket of earlier settings, which the policy names for a page that is loaded after it was asked for. */
function readOtherBuckets() {
  document.addEventListener("securitypolicyviolation", (event) => {
    if (event.effectiveDirective !== "connect-src" || !/^https?:/.test(event.blockedURI)) return;
    const key = `loaded again for ${new URL(event.blockedURI).origin}`;
    if (sessionStorage.getItem(key)) return;
    sessionStorage.setItem(key, "1");
    location.reload();
  });
}

readOtherBuckets();
viewAt(placeOf(location.hash))[1].load().catch(() => {}); // the view itself asks once more, and tells
render(html`<${Frame} />`, document.getElementById("app"));
