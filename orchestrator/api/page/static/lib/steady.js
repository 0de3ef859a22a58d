// A live list that does not move under a pointer or the focus: its order changes only while nobody is at it.

import { useRef, useState } from "../vendor/preact.js";

/**
 * `items` in the order in which they were when somebody came to the list, each as it is now, while somebody is there:
 * `{shown, fresh, show, holding}`. `fresh` is how many others there are, which `show` lets in; `holding` are handlers
 * for the list's element. `place` is what the list is of: of another one nothing stays.
 */
export function useSteady(items, keyOf, place) {
  const kept = useRef({ place: null, keys: [], last: new Map() });
  const held = useRef(false);
  const [, draw] = useState(0);
  const again = () => draw((count) => count + 1);
  const known = kept.current;
  const now = new Map((items ?? []).map((each) => [keyOf(each), each]));
  if (!held.current || known.place !== place || known.keys.length === 0)
    kept.current = { place, keys: [...now.keys()], last: now };
  else for (const [key, item] of now) if (known.last.has(key)) known.last.set(key, item);
  const { keys, last } = kept.current;
  const leave = () => { held.current = false; again(); };
  return {
    shown: keys.map((key) => last.get(key)),
    fresh: [...now.keys()].filter((key) => !last.has(key)).length,
    show: () => { kept.current.keys = []; again(); },
    holding: {
      onPointerEnter: () => { held.current = true; },
      onPointerLeave: leave,
      onFocusIn: () => { held.current = true; },
      onFocusOut: (event) => event.currentTarget.contains(event.relatedTarget) || leave(),
    },
  };
}
