// Keeps the marked part of a page up to date while somebody can see it.
'use strict';
(() => {
  const PERIOD = 2000;
  // A service that is away is not asked as often.
  const AWAY = 5000;
  const LONGEST = 10000;

  const part = document.getElementById('live');
  const state = document.getElementById('live-state');
  let timer;
  // A tab that is hidden and shown while the service is slow has one loop all the same.
  let isAsking = false;

  function say(isLive) {
    const text = isLive ? 'Live' : 'Not live';
    if (state.textContent === text) return;
    state.textContent = text;
    state.className = isLive ? 'is-live' : 'is-away';
    state.title = isLive ? 'This page follows the queues' : 'The service does not answer: this is what was seen last';
  }

  // Makes `old` equal to `next`. What is alike stays, with its focus, its selection and its scroll;
  // what has an id stays with it, so that no button becomes another job's.
  function renew(old, next) {
    if (old.isEqualNode(next)) return;
    if (old.nodeName !== next.nodeName || old.id !== next.id) {
      old.replaceWith(next);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = next.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!next.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const wanted = new Set([...next.children].map((child) => child.id));
    const known = new Map();
    for (const child of [...old.children]) {
      if (!child.id) continue;
      if (wanted.has(child.id)) known.set(child.id, child);
      else child.remove();
    }
    let at = old.firstChild;
    for (const child of [...next.childNodes]) {
      const twin = child.id ? known.get(child.id) : at && !at.id ? at : null;
      if (!twin) {
        old.insertBefore(child, at);
        continue;
      }
      if (twin === at) at = at.nextSibling;
      else old.insertBefore(twin, at);
      renew(twin, child);
    }
    while (at) {
      const rest = at.nextSibling;
      at.remove();
      at = rest;
    }
  }

  // Whether it can be asked again.
  async function look() {
    const answer = await fetch(location.href, {
      redirect: 'manual',
      signal: AbortSignal.timeout(LONGEST),
    });
    // The session is over: the page itself leads to the sign-in.
    if (answer.type === 'opaqueredirect' || answer.status === 401 || answer.status === 403) {
      location.reload();
      return false;
    }
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const next = page.getElementById('live');
    // No row moves away from under a pointer that is about to press a button of it.
    if (!part.querySelector('.actions:hover')) renew(part, next);
    return true;
  }

  async function follow() {
    if (isAsking) return;
    isAsking = true;
    let wait = PERIOD;
    try {
      if (!(await look())) return;
      say(true);
    } catch {
      say(false);
      wait = AWAY;
    } finally {
      isAsking = false;
    }
    if (!document.hidden) timer = setTimeout(follow, wait);
  }

  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(follow, 0);
  });

  // What was done is said once, and not again when the page is loaded again.
  const here = new URL(location.href);
  if (here.searchParams.has('done')) {
    here.searchParams.delete('done');
    history.replaceState(null, '', here);
  }
  say(true);
  if (!document.hidden) timer = setTimeout(follow, PERIOD);
})();
