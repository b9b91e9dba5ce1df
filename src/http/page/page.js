'use strict';
(() => {
  const at = (id) => document.getElementById(id);
  const KEY = 'matrix-whatsapp-session';
  const PAUSE = 2000;
  let session = null;
  let linking = null;
  let asked = false;

  const ask = async (what, body, bearer = session) => {
    const answer = await fetch(`login/api/${what}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body ?? {}),
      cache: 'no-store',
      credentials: 'omit',
    });
    const told = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(told.error), { status: answer.status });
    return told;
  };

  // What stands on the page anyway is told to screen readers only.
  const say = (text, unseen = false) => {
    at('news').classList.toggle('unseen', unseen);
    if (at('news').textContent !== text) at('news').textContent = text;
  };
  const complain = (text) => { at('trouble').textContent = text; at('trouble').hidden = !text; };
  const show = (id, is) => { at(id).hidden = !is; };

  const over = (text) => {
    sessionStorage.removeItem(KEY);
    session = null;
    say('');
    complain(text);
    for (const id of ['accounts', 'begin', 'link']) show(id, false);
  };

  const draw = (lines) => {
    const edge = 4;
    const side = lines.length + 2 * edge;
    const name = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(name, 'svg');
    svg.setAttribute('viewBox', `0 0 ${side} ${side}`);
    svg.setAttribute('shape-rendering', 'crispEdges');
    svg.setAttribute('aria-hidden', 'true');
    const dark = document.createElementNS(name, 'path');
    let way = '';
    lines.forEach((line, y) => {
      [...line].forEach((bit, x) => { if (bit === '1') way += `M${x + edge} ${y + edge}h1v1h-1z`; });
    });
    dark.setAttribute('d', way);
    dark.setAttribute('fill', '#000');
    svg.append(dark);
    at('picture').replaceChildren(svg);
  };

  const words = { connected: 'Connected', connecting: 'Connecting…', offline: 'Not connected', logged_out: 'Logged out' };

  const listLogins = (logins) => {
    const key = JSON.stringify(logins);
    if (at('list').dataset.key === key) return;
    at('list').dataset.key = key;
    at('list').replaceChildren(...logins.map((login) => {
      const item = document.createElement('li');
      const about = document.createElement('div');
      const name = document.createElement('span');
      const state = document.createElement('span');
      name.className = 'name';
      name.textContent = login.name;
      state.className = `state ${login.state}`;
      state.textContent = [words[login.state], login.why].filter(Boolean).join('. ');
      about.append(name, state);
      item.append(about);
      if (login.state !== 'logged_out') item.append(leave(login));
      return item;
    }));
    show('accounts', logins.length > 0);
  };

  const leave = (login) => {
    const button = document.createElement('button');
    let sure = false;
    button.type = 'button';
    button.className = 'plain';
    button.textContent = 'Log out';
    button.setAttribute('aria-label', `Log out ${login.name}`);
    button.addEventListener('click', () => {
      if (!sure) {
        sure = true;
        button.className = 'sharp';
        button.textContent = 'Really log out?';
        button.removeAttribute('aria-label');
        return;
      }
      button.disabled = true;
      act(async () => { render(await ask('logout', { login: login.id })); say(`${login.name} is logged out.`); })
        .finally(() => { button.disabled = false; });
    });
    return button;
  };

  const render = (told) => {
    at('who').textContent = `For ${told.user}`;
    listLogins(told.logins);
    const before = linking;
    const now = told.linking;
    linking = now && ['waiting', 'qr', 'code', 'passkey', 'compare', 'checking'].includes(now.kind) ? now : null;
    show('begin', !linking);
    show('link', Boolean(linking));
    if (now?.kind === 'linked') say(`${now.text} is linked. Your chats appear in your Matrix client as messages arrive.`);
    else if (now?.kind === 'ended') complain(now.text);
    else if (!linking && at('news').textContent === 'Opening…') say('');
    if (!linking) return;
    show('wait', linking.kind === 'waiting' || linking.kind === 'checking');
    show('qr', linking.kind === 'qr');
    show('code', linking.kind === 'code');
    show('steps', ['waiting', 'qr', 'code'].includes(linking.kind));
    show('passkey', linking.kind === 'passkey');
    show('compare', linking.kind === 'compare');
    at('wait').textContent = linking.kind === 'checking' ? 'WhatsApp looks at your passkey…' : 'WhatsApp is asked for a code…';
    if (linking.kind === 'passkey') {
      at('script').textContent = linking.text;
      if (before?.kind !== 'passkey') say('WhatsApp asks for your passkey.', true);
    } else if (linking.kind === 'compare') {
      at('same-code').textContent = linking.text;
      say(`Your phone shows a code. Is it ${[...linking.text].join(' ')}?`, true);
    } else if (linking.kind === 'checking') {
      at('answer').value = '';
      say('WhatsApp looks at your passkey.', true);
    } else if (linking.kind === 'qr') {
      draw(linking.picture);
      at('last-step').textContent = 'Point the phone at this code. It changes every now and then.';
      if (before?.kind !== 'qr') say('A QR code is shown.', true);
    } else if (linking.kind === 'code') {
      at('code').textContent = linking.text;
      at('last-step').textContent = 'Tap Link with phone number instead, and type this code.';
      say(`Your code is ${[...linking.text].join(' ')}`, true);
    } else {
      at('picture').replaceChildren();
      at('last-step').textContent = 'Then use the code that appears here.';
      say('');
    }
    if (!before || before.id !== linking.id || before.kind !== linking.kind && ['passkey', 'compare'].includes(linking.kind)) at('link-title').focus();
  };

  const act = async (work) => {
    complain('');
    try { await work(); } catch (error) {
      if (error.status === 401) over(error.message);
      else complain(error.status ? error.message : 'The bridge can\'t be reached. Please try again.');
    }
  };

  const follow = async () => {
    while (session) {
      const shown = linking;
      try {
        const told = await ask('state', shown ? { linking: shown.id, step: shown.step } : {});
        // What was begun or cancelled meanwhile is newer than this answer.
        if (session && linking === shown && !asked) render(told);
      } catch (error) {
        if (error.status === 401 || error.status === 403) { over(error.message); return; }
        await new Promise((done) => setTimeout(done, PAUSE));
      }
      if (!linking) await new Promise((done) => setTimeout(done, PAUSE));
    }
  };

  const begin = (body) => act(async () => {
    asked = true;
    try { render(await ask('start', body)); } finally { asked = false; }
  });

  at('by-qr').addEventListener('click', () => begin({}));
  at('by-number').addEventListener('submit', (event) => {
    event.preventDefault();
    begin({ number: at('number').value });
  });
  at('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(at('script').textContent);
      say('The script is copied.');
    } catch {
      getSelection().selectAllChildren(at('script'));
      say('The script is selected; copy it.');
    }
  });
  const give = (what, body) => act(async () => {
    asked = true;
    try { render(await ask(what, { linking: linking?.id ?? '', ...body })); } finally { asked = false; }
  });
  at('by-passkey').addEventListener('submit', (event) => {
    event.preventDefault();
    give('passkey', { answer: at('answer').value });
  });
  at('same').addEventListener('click', () => give('confirm', {}));
  at('cancel').addEventListener('click', () => act(async () => {
    asked = true;
    try {
      const told = await ask('cancel', { linking: linking?.id ?? '' });
      linking = null;
      render(told);
      say('Cancelled.');
      at('by-qr').focus();
    } finally { asked = false; }
  }));

  const open = async () => {
    const secret = location.hash.slice(1);
    // Out of the address bar and the history before anything else.
    if (secret) history.replaceState(null, '', location.pathname);
    session = sessionStorage.getItem(KEY);
    try {
      if (secret) {
        session = (await ask('open', {}, secret)).session;
        sessionStorage.setItem(KEY, session);
      }
      if (!session) { over('Open this page by the link that the bot gives you: say `login` to it.'); return; }
      render(await ask('state', {}));
    } catch (error) {
      over(error.status ? error.message : 'The bridge can\'t be reached. Please say `login` to the bot for a new link.');
      return;
    }
    follow();
  };
  open();
})();
