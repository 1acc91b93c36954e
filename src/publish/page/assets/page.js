'use strict';
// Draws what the server tells. Whatever comes from outside goes into text nodes and onto canvases,
// never into markup; what is not known is a dash; what is old is not shown as if it were now.

const DASH = '–';
const GLYPHS = { NONE: '○', WATCH: '◔', ALERT: '◑', CRITICAL: '◕', EXTREME: '●' };
const STATES = { live: '● live', quiet: '● quiet', connecting: '◌ connecting', suspect: '✕ suspect', stale: '✕ stale', down: '✕ down', blocked: '✕ blocked' };
const LOST_MS = 3000;
const KEEP_MS = 600000;

const byId = id => document.getElementById(id);
const known = value => value !== null && value !== undefined && Number.isFinite(value);

function say(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

function make(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}

// ---- numbers ----

function fixed(value, digits) {
  if (!known(value)) return DASH;
  const text = Math.abs(value).toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return value < 0 && /[1-9]/.test(text) ? '−' + text : text;
}
const rate = value => fixed(value, Math.abs(value) < 99.95 ? 1 : 0);
const whole = value => fixed(value, 0);
const percent = value => known(value) ? whole(value * 100) + ' %' : DASH;

function price(value) {
  if (!known(value)) return DASH;
  const size = Math.floor(Math.log10(Math.max(value, 1e-9)));
  return fixed(value, Math.min(10, Math.max(size >= 4 ? 1 : 2, 5 - size - 1)));
}

function money(value) {
  if (!known(value)) return DASH;
  for (const [unit, size] of [['B', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (value >= size * 0.9995) return fixed(value / size, value / size < 99.95 ? 1 : 0) + ' ' + unit;
  }
  return whole(value);
}

function span(ns) {
  if (!known(ns)) return DASH;
  for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) {
    if (ns >= size) return (ns / size).toPrecision(3).replace(/e\+.*/, '') + ' ' + unit;
  }
  return ns + ' ns';
}

function age(ms) {
  if (!known(ms)) return DASH;
  if (ms < 9950) return fixed(Math.max(ms, 0) / 1000, 1) + ' s';
  if (ms < 120000) return whole(ms / 1000) + ' s';
  return whole(ms / 60000) + ' min';
}

const clock = (ms, digits = 8) => new Date(ms).toISOString().slice(11, 11 + digits);

// ---- what is known ----

const told = { frame: null, slow: null, run: null, tape: [], signals: [], at: 0 };
const past = { t: [], v: [], a: [], j: [], r: [], p: [] };
let symbol = 'MARKET';
let seconds = 180;
let source = null;
let state = 'gone';
let lostAt = null;
let pointed = null;

function forget() {
  for (const key of Object.keys(past)) past[key] = [];
}

function remember(more) {
  for (const key of Object.keys(past)) past[key].push(...more[key]);
  const first = past.t.findIndex(t => t >= past.t[past.t.length - 1] - KEEP_MS);
  if (first > 120) for (const key of Object.keys(past)) past[key].splice(0, first);
}

// ---- the connection ----

// Characters that turn text around would do so beyond their own word.
const TURNS = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;
const harmless = (_, value) => typeof value === 'string' ? value.replace(TURNS, '\uFFFD') : value;

function connect() {
  if (source) source.close();
  forget();
  told.tape = [];
  told.signals = [];
  told.at = performance.now();
  const mine = new EventSource('/events?symbol=' + encodeURIComponent(symbol));
  source = mine;
  mine.onmessage = message => { if (mine === source) take(JSON.parse(message.data, harmless)); };
  mine.onopen = () => { if (mine === source) { forget(); told.tape = []; told.signals = []; } };
  mine.onerror = () => { if (mine === source) become('gone'); };
}

function watch() {
  const silent = performance.now() - told.at;
  if (silent > LOST_MS) {
    become('gone');
    // A connection that is made anew by itself is left alone; one that hangs or was refused is not.
    if (source.readyState === EventSource.CLOSED || silent > 3 * LOST_MS) connect();
  }
  if (state === 'gone' && lostAt !== null) say('link', 'disconnected since ' + clock(lostAt) + ' – trying again');
}

function become(next) {
  if (next === state) return;
  if (next === 'gone') lostAt = Date.now();
  state = next;
  document.body.dataset.state = next;
  if (next !== 'live') blank();
  draw();
}

function take(frame) {
  if (told.run !== null && told.run !== frame.run) {
    forget();
    told.tape = [];
    told.signals = [];
  }
  told.run = frame.run;
  // What is no symbol was answered with the whole market.
  symbol = frame.symbol;
  told.at = performance.now();
  told.frame = frame;
  remember(frame.past);
  told.tape = told.tape.concat(frame.tape).slice(-2048);
  told.signals = told.signals.concat(frame.signals).slice(-128);
  if (frame.health) told.slow = frame;
  become(frame.still ? 'still' : 'live');
  show();
}

// ---- text ----

function blank() {
  for (const id of ['level', 'probability', 'risk', 'm-velocity', 'm-acceleration', 'm-jerk', 'm-usd', 'm-longs', 'm-regime', 'm-venues',
    'v-price', 'v-velocity', 'v-acceleration', 'v-jerk', 'v-risk', 'books']) say(id, DASH);
  say('risk-level', '');
  say('row-level', '');
  say('glyph', '○');
  byId('verdict').dataset.level = 'NONE';
  for (const body of ['feeds', 'latency']) byId(body).replaceChildren();
  for (const button of byId('list').querySelectorAll('button')) {
    const [title, ...cells] = button.children;
    title.textContent = '○ ' + button.dataset.name;
    title.className = '';
    for (const cell of cells) cell.textContent = DASH;
  }
  if (state === 'gone') byId('warnings').replaceChildren();
  document.title = (state === 'gone' ? 'disconnected' : 'standing still') + ' · foreshock';
}

function show() {
  const { frame, slow } = told;
  if (state === 'still') {
    say('link', 'standing still: nothing has come through ' + (known(frame.age) ? 'for ' + age(frame.age) : 'yet'));
  } else {
    say('link', 'live');
    verdict(frame.market);
    row(frame.row);
  }
  say('clock', clock(frame.now));
  say('symbol', frame.symbol);
  say('price-of', frame.symbol === 'MARKET' ? 'Price of BTC' : 'Price');
  byId('mark').hidden = !frame.mark;
  say('mark', frame.mark);
  say('version', 'foreshock ' + frame.version);
  if (frame.health) {
    warnings(frame);
    if (state === 'live') {
      list(frame.list, frame.market);
      feeds(frame);
      latency(frame.latency);
      books(frame);
    }
    const { health } = frame;
    if (state === 'live') say('m-venues', frame.feeds === null ? DASH : health.heard + ' of ' + health.venues);
  }
  signals();
  tape();
  if (state === 'live') title(frame.market, slow);
  draw();
}

function title(market, slow) {
  const deaf = slow && slow.health.deaf.length > 0 ? '⚠ ' : '';
  document.title = deaf + (market ? market.level + ' ' + percent(market.probability) : 'nothing yet') + ' · foreshock';
}

function verdict(market) {
  byId('verdict').dataset.level = market ? market.level : 'NONE';
  say('glyph', market ? GLYPHS[market.level] || '○' : '○');
  say('level', market ? market.level : DASH);
  say('probability', market ? percent(market.probability) : DASH);
  say('risk', market ? whole(market.risk) : DASH);
  say('risk-level', market ? market.risk_level.toLowerCase() : '');
  byId('gauge').style.width = market ? Math.min(100, Math.max(0, market.risk)) + '%' : '0';
  say('m-velocity', rate(market ? market.velocity : null));
  say('m-acceleration', rate(market ? market.acceleration : null));
  say('m-jerk', rate(market ? market.jerk : null));
  say('m-usd', money(market ? market.usd_60s : null));
  say('m-longs', market && known(market.imbalance) ? whole((1 + market.imbalance) * 50) : DASH);
  say('m-regime', market ? market.regime.toLowerCase() : DASH);
}

function row(now) {
  say('v-price', price(now ? now.price : null));
  say('v-velocity', rate(now ? now.velocity : null));
  say('v-acceleration', rate(now ? now.acceleration : null));
  say('v-jerk', rate(now ? now.jerk : null));
  say('v-risk', whole(now ? now.risk : null));
  const text = now ? (GLYPHS[now.level] || '') + ' ' + now.level + ' ' + percent(now.probability) + ', ' + money(now.usd_60s) + ' USD in 60 s'
    + (now.gap ? ', events are missing' : '') : 'nothing has been liquidated here yet';
  say('row-level', text);
  byId('row-level').className = 'row-level l-' + (now ? now.level : 'NONE');
}

function warnings(frame) {
  const { health, feeds: all } = frame;
  const lines = health.stuck.map(text => ['stuck', text, '']);
  if (all === null) lines.push(['feeds unknown', 'nobody has said for 5 s how the feeds are', '']);
  if (frame.redis !== null) lines.push(['redis', (frame.redis || 'does not answer') + '; signals wait', '']);
  for (const venue of all === null ? [] : health.deaf) {
    const own = all.filter(feed => feed.venue === venue && feed.completeness !== null);
    const why = own.map(feed => name(feed) + ' ' + feed.state + (feed.why ? ' (' + feed.why + ')' : '')).join('; ');
    const never = own.every(feed => feed.last_frame_ms === null && feed.state === 'down');
    lines.push(['deaf', venue + ': its liquidations are not heard; counts are too low. ' + why, never ? 'calm' : '']);
  }
  const key = JSON.stringify(lines);
  if (byId('warnings').dataset.key === key) return;
  byId('warnings').dataset.key = key;
  byId('warnings').replaceChildren(...lines.map(([word, text, calm]) => {
    const line = make('p', 'warning ' + calm);
    line.append(make('b', '', word), text);
    return line;
  }));
}

const name = feed => feed.route + (feed.copy > 1 ? '#' + feed.copy : '');

function list(all, market) {
  const box = byId('list');
  const rows = [['MARKET', market ? market.level : 'NONE', market ? market.risk : null, market ? market.velocity : null, market ? market.usd_60s : null], ...all];
  if (!rows.some(([name]) => name === symbol)) rows.splice(1, 0, [symbol, 'NONE', null, null, null]);
  const buttons = new Map(Array.from(box.querySelectorAll('button'), button => [button.dataset.name, button]));
  // Under a pointer or a finger nothing moves away.
  const held = box.matches(':hover, :focus-within');
  const wanted = new Set(rows.map(([name]) => name));
  for (const [name, button] of buttons) if (!wanted.has(name) && !held) { button.parentNode.remove(); buttons.delete(name); }
  for (const [name, level, risk, velocity, usd] of rows) {
    let button = buttons.get(name);
    if (!button) {
      button = make('button');
      button.type = 'button';
      button.dataset.name = name;
      button.append(make('bdi'), make('span'), make('span'), make('span'));
      const item = make('li');
      item.append(button);
      box.append(item);
    } else if (!held) {
      box.append(button.parentNode);
    }
    button.setAttribute('aria-pressed', String(name === symbol));
    const [title, ...cells] = button.children;
    title.textContent = (GLYPHS[level] || '○') + ' ' + name;
    title.className = 'l-' + level;
    [whole(risk), rate(velocity), money(usd)].forEach((text, i) => { cells[i].textContent = text; });
  }
}

function feeds(frame) {
  const body = byId('feeds');
  if (frame.feeds === null) return body.replaceChildren(cells([['', 'not known now']]));
  const rows = [];
  for (const feed of frame.feeds) {
    const hears = feed.state === 'live' || feed.state === 'quiet';
    const raced = known(feed.won) && known(feed.beaten) && feed.won + feed.beaten > 0;
    const line = cells([
      ['', feed.venue + ' ' + name(feed)],
      ['', (STATES[feed.state] || feed.state) + (feed.code ? ' ' + feed.code : '') + (hears || feed.completeness === null ? '' : ', deaf')],
      ['n', known(feed.last_frame_ms) ? age(frame.now - feed.last_frame_ms) : DASH],
      ['', feed.completeness === null ? 'none' : feed.completeness],
      ['n', raced ? percent(feed.won / (feed.won + feed.beaten)) : DASH],
      ['n wide', whole(feed.frames)],
    ]);
    if (!hears) line.className = 'deaf';
    rows.push(line);
    if (feed.why && !hears) {
      const why = make('tr');
      const cell = make('td', 'why', feed.why);
      cell.colSpan = 6;
      why.append(cell);
      rows.push(why);
    }
  }
  body.replaceChildren(...rows);
}

function cells(all) {
  const line = make('tr');
  line.append(...all.map(([kind, text]) => make('td', kind, text)));
  return line;
}

function latency(curves) {
  byId('latency').replaceChildren(...curves.filter(curve => curve.count > 0).map((curve, n) => {
    const at = p => span(curve.ns[PERCENTILES.indexOf(p)]);
    const line = cells([['', ''], ['n', at(50)], ['n', at(99)], ['n', at(99.9)], ['n', at(100)], ['n wide', whole(curve.count)]]);
    line.firstChild.append(swatch(n), curve.stage.replace(/_/g, ' '));
    return line;
  }));
}

const SVG = 'http://www.w3.org/2000/svg';

// The look of one curve, beside its name.
function swatch(n) {
  const box = document.createElementNS(SVG, 'svg');
  const line = document.createElementNS(SVG, 'line');
  box.setAttribute('class', 'swatch');
  box.setAttribute('viewBox', '0 0 24 8');
  for (const [key, value] of Object.entries({ x1: 0, y1: 4, x2: 24, y2: 4, stroke: ink.curves[n % ink.curves.length], 'stroke-width': 2, 'stroke-dasharray': DASHES[n % DASHES.length].join(' ') || 'none' })) line.setAttribute(key, value);
  box.append(line);
  return box;
}

function books(frame) {
  const counts = new Map(frame.counts);
  const count = name => counts.has(name) ? whole(counts.get(name)) : DASH;
  say('books', count('frames') + ' frames, ' + count('events') + ' events, ' + count('dropped') + ' dropped, ' + count('rejected') + ' rejected, '
    + count('signals') + ' signals, ' + count('published') + ' published, running since ' + new Date(frame.run).toISOString().slice(0, 19).replace('T', ' '));
}

function signals() {
  const changes = told.signals.slice(-24).reverse();
  const box = byId('signals');
  const key = changes.map(signal => signal.seq).join() + told.run;
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  if (changes.length === 0) return box.replaceChildren(make('li', 'none', 'none yet'));
  box.replaceChildren(...changes.map(signal => {
    const item = make('li');
    const top = make('p', 'top');
    const symbol = make('b');
    symbol.append(make('bdi', '', signal.symbol));
    top.append(make('span', 'l-' + signal.level, (GLYPHS[signal.level] || '') + ' ' + signal.level + ' ' + percent(signal.probability)), symbol, make('time', '', clock(signal.at, 12)));
    item.append(top, make('p', 'why', signal.why));
    return item;
  }));
}

const SIDES = { long: ['▼ long', 'long'], short: ['▲ short', 'short'] };

function tape() {
  const latest = told.tape.slice(-20).reverse();
  const body = byId('tape');
  const last = latest[0];
  const key = last ? [last.at, last.symbol, last.usd, told.tape.length, told.run].join() : '';
  if (body.dataset.key === key) return;
  body.dataset.key = key;
  body.replaceChildren(...latest.map(one => {
    const [side, kind] = SIDES[one.side] || ['not told', ''];
    const line = cells([['', clock(one.at)], ['', ''], [kind, side], ['n', known(one.usd) ? whole(one.usd) : DASH], ['n wide', price(one.price)], ['', one.venue]]);
    line.firstChild.append(make('span', 'wide', clock(one.at, 12).slice(8)));
    line.children[1].append(make('bdi', '', one.symbol));
    return line;
  }));
}

// ---- drawing ----

const PERCENTILES = [0, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99, 100];
let ink = {};

function colours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['panel', 'ink', 'soft', 'line', 'grid', 'curve', 'fill', 'long', 'short']) ink[name] = style.getPropertyValue('--' + name).trim();
  ink.curves = style.getPropertyValue('--curves').trim().split(/\s+/);
}

function sheet(id) {
  const canvas = byId(id);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const dense = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = '11px system-ui, sans-serif';
  pen.lineJoin = 'round';
  return { pen, width, height };
}

/// Round numbers from low to high, about `n` of them.
function ticks(low, high, n) {
  const rough = (high - low) / n;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 2.5, 5, 10].map(k => k * power).find(step => step >= rough) || rough;
  const all = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) all.push(k * step);
  return { all, step };
}

const digits = step => Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9) + (/^2\.5/.test((step / Math.pow(10, Math.floor(Math.log10(step)))).toFixed(1)) ? 1 : 0)));

const RIGHT = 64;
const WHEN = [5, 10, 15, 30, 60, 120];

function times(pen, box, from, to, labels) {
  const step = WHEN.find(s => (to - from) / 1000 / s <= Math.max(2, (box.x1 - box.x0) / 90)) * 1000 || 120000;
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
    const x = box.x0 + (t - from) / (to - from) * (box.x1 - box.x0);
    pen.strokeStyle = ink.grid;
    pen.beginPath();
    pen.moveTo(x, box.y0);
    pen.lineTo(x, box.y1);
    pen.stroke();
    if (labels && x > box.x0 + 18 && x < box.x1 - 18) {
      pen.fillStyle = ink.soft;
      pen.textAlign = 'center';
      pen.fillText(clock(t), x, box.y1 + 14);
    }
  }
}

// One quantity of the symbol over time. A hole in the past stays a hole.
function curve(id, values, now, options) {
  const { pen, width, height } = sheet(id);
  const box = { x0: 0, x1: width - RIGHT, y0: 6, y1: height - (options.labels ? 24 : 6) };
  const to = told.frame ? told.frame.now : Date.now();
  const from = to - seconds * 1000;
  const t = past.t.concat(known(now) ? [to] : []);
  const y = values.concat(known(now) ? [now] : []);
  const shown = y.filter((value, i) => known(value) && t[i] >= from);
  let low = options.low, high = options.high;
  if (low === undefined) {
    low = Math.min(...shown, options.least === undefined ? Infinity : -options.least);
    high = Math.max(...shown, options.least === undefined ? -Infinity : options.least);
    if (options.floor !== undefined) low = options.floor;
    if (!(high > low)) { const middle = known(high) && Number.isFinite(high) ? high : 0; low = middle - Math.max(Math.abs(middle) * 1e-4, 1e-9); high = middle + Math.max(Math.abs(middle) * 1e-4, 1e-9); }
    const room = (high - low) * 0.08;
    high += room;
    if (options.floor === undefined) low -= room;
  }
  const X = at => box.x0 + (at - from) / (to - from) * (box.x1 - box.x0);
  const Y = value => box.y1 - (value - low) / (high - low) * (box.y1 - box.y0);
  pen.lineWidth = 1;
  times(pen, box, from, to, options.labels);
  const marks = options.marks ? { all: options.marks, step: 1 } : ticks(low, high, box.y1 - box.y0 > 90 ? 4 : 3);
  pen.textAlign = 'left';
  for (const mark of shown.length > 0 || options.marks ? marks.all : []) {
    const level = Math.round(Y(mark)) + 0.5;
    pen.strokeStyle = mark === 0 && options.least !== undefined ? ink.line : ink.grid;
    pen.beginPath();
    pen.moveTo(box.x0, level);
    pen.lineTo(box.x1, level);
    pen.stroke();
    pen.fillStyle = ink.soft;
    pen.fillText(fixed(mark, digits(marks.step)) + (options.unit || ''), box.x1 + 8, level + 4);
  }
  pen.save();
  pen.beginPath();
  pen.rect(box.x0, 0, box.x1 - box.x0, height);
  pen.clip();
  const floor = Y(Math.max(low, Math.min(high, 0)));
  let run = [];
  const stroke = () => {
    if (run.length === 0) return;
    if (options.filled) {
      pen.fillStyle = ink.fill;
      pen.beginPath();
      pen.moveTo(run[0][0], floor);
      for (const [x, level] of run) pen.lineTo(x, level);
      pen.lineTo(run[run.length - 1][0], floor);
      pen.fill();
    }
    pen.strokeStyle = ink.curve;
    pen.lineWidth = 1.6;
    pen.beginPath();
    run.forEach(([x, level], i) => i === 0 ? pen.moveTo(x, level) : pen.lineTo(x, level));
    pen.stroke();
    run = [];
  };
  let before = null;
  for (let i = 0; i < t.length; i++) {
    if (t[i] < from - 2000) continue;
    if (!known(y[i]) || before !== null && t[i] - before > 1800) stroke();
    if (known(y[i])) { run.push([X(t[i]), Y(y[i])]); before = t[i]; }
  }
  const end = run.length > 0 && known(now) ? run[run.length - 1] : null;
  stroke();
  if (end) {
    pen.fillStyle = ink.curve;
    pen.beginPath();
    pen.arc(Math.min(end[0], box.x1 - 3), end[1], 3, 0, 7);
    pen.fill();
  }
  pen.restore();
  if (pointed !== null) point(pen, box, t, y, from, to, X, Y, options);
  if (shown.length === 0) {
    pen.fillStyle = ink.soft;
    pen.textAlign = 'left';
    pen.fillText('nothing known yet', box.x0 + 4, (box.y0 + box.y1) / 2);
  }
}

function point(pen, box, t, y, from, to, X, Y, options) {
  const at = from + pointed * (to - from);
  let best = -1;
  for (let i = 0; i < t.length; i++) if (known(y[i]) && Math.abs(t[i] - at) < 1500 && (best < 0 || Math.abs(t[i] - at) < Math.abs(t[best] - at))) best = i;
  if (best < 0) return;
  const x = Math.round(X(t[best])) + 0.5;
  pen.strokeStyle = ink.soft;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x, box.y0);
  pen.lineTo(x, box.y1);
  pen.stroke();
  const text = clock(t[best]) + '  ' + options.words(y[best]);
  const wide = pen.measureText(text).width + 10;
  const left = x + wide + 6 > box.x1 ? x - wide - 4 : x + 4;
  pen.fillStyle = ink.panel;
  pen.fillRect(left, box.y0, wide, 17);
  pen.strokeStyle = ink.line;
  pen.strokeRect(left + 0.5, box.y0 + 0.5, wide, 17);
  pen.fillStyle = ink.ink;
  pen.textAlign = 'left';
  pen.fillText(text, left + 5, box.y0 + 13);
}

// The tape shows this much at most: there are many.
const TAPE_S = 60;
const VENUES = ['binance', 'bybit', 'okx', 'hyperliquid', 'other'];
// Side of a triangle, px: its area is to scale, one million USD is 30 px wide.
const size = usd => Math.max(2.5, Math.min(64, 30 * Math.sqrt(usd / 1e6)));

function triangle(pen, x, y, side, kind) {
  const up = kind === 'short' ? -1 : 1;
  const tall = side * 0.866;
  pen.beginPath();
  if (kind === 'long' || kind === 'short') {
    pen.moveTo(x, y + up * tall / 2);
    pen.lineTo(x - side / 2, y - up * tall / 2);
    pen.lineTo(x + side / 2, y - up * tall / 2);
    pen.closePath();
  } else {
    pen.rect(x - side / 2, y - side / 2, side, side);
  }
  pen.fillStyle = pen.strokeStyle = ink[kind] || ink.soft;
  pen.globalAlpha = kind === 'long' ? 0.5 : 0.25;
  pen.fill();
  pen.globalAlpha = 1;
  pen.lineWidth = 1;
  pen.stroke();
}

// A place of its own for each symbol, 0..1.
function scatter(text) {
  let hash = 7;
  for (const c of text) hash = (hash * 31 + c.codePointAt(0)) % 8191;
  return hash / 8190;
}

function drawTape() {
  const { pen, width, height } = sheet('c-tape');
  const box = { x0: 78, x1: width - 4, y0: 28, y1: height - 24 };
  const to = told.frame ? told.frame.now : Date.now();
  const from = to - Math.min(seconds, TAPE_S) * 1000;
  const venues = VENUES.filter(venue => venue !== 'other' || told.tape.some(one => one.venue === venue));
  const lane = (box.y1 - box.y0) / venues.length;
  times(pen, box, from, to, true);
  pen.textAlign = 'left';
  venues.forEach((venue, i) => {
    const level = Math.round(box.y0 + i * lane) + 0.5;
    pen.strokeStyle = ink.grid;
    pen.beginPath();
    pen.moveTo(0, level);
    pen.lineTo(box.x1, level);
    pen.stroke();
    pen.fillStyle = ink.soft;
    pen.fillText(venue, 0, level + lane / 2 + 4);
  });
  pen.save();
  pen.beginPath();
  pen.rect(box.x0, 0, box.x1 - box.x0, box.y1);
  pen.clip();
  for (const one of told.tape) {
    if (one.at < from || !known(one.usd)) continue;
    const x = box.x0 + (one.at - from) / (to - from) * (box.x1 - box.x0);
    // Those of one venue at one moment stand beside each other as far as there is room.
    const y = box.y0 + (venues.indexOf(one.venue) + 0.22 + 0.56 * scatter(one.symbol)) * lane;
    triangle(pen, x, y, size(one.usd), one.side);
  }
  pen.restore();
  let x = box.x1;
  pen.textAlign = 'right';
  for (const [usd, word] of [[1e6, '1 M'], [1e5, '100 k'], [1e4, '10 k']]) {
    pen.fillStyle = ink.soft;
    pen.fillText(word, x, 16);
    x -= pen.measureText(word).width + 6 + size(usd) / 2;
    triangle(pen, x, 13, 0.66 * size(usd), '');
    x -= size(usd) / 2 + 10;
  }
}

const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3], [10, 4], [3, 2, 1, 2], [12, 3]];

function drawLatency() {
  const { pen, width, height } = sheet('c-latency');
  const curves = told.slow ? told.slow.latency.filter(curve => curve.count > 0) : [];
  const box = { x0: 46, x1: width - 8, y0: 8, y1: height - 22 };
  const nines = p => Math.min(4, Math.log10(1 / Math.max(1e-9, 1 - p / 100)));
  const X = p => box.x0 + (nines(p) - nines(50)) / (4 - nines(50)) * (box.x1 - box.x0);
  const all = curves.flatMap(curve => curve.ns.slice(2)).map(ns => Math.max(ns, 100));
  const low = Math.floor(Math.log10(Math.min(...all, 1e5)));
  const high = Math.ceil(Math.log10(Math.max(...all, 1e6)));
  const Y = ns => box.y1 - (Math.log10(Math.max(ns, 100)) - low) / (high - low) * (box.y1 - box.y0);
  pen.lineWidth = 1;
  for (let power = low; power <= high; power++) {
    const level = Math.round(Y(Math.pow(10, power))) + 0.5;
    pen.strokeStyle = ink.grid;
    pen.beginPath();
    pen.moveTo(box.x0, level);
    pen.lineTo(box.x1, level);
    pen.stroke();
    pen.fillStyle = ink.soft;
    pen.textAlign = 'right';
    const ns = Math.pow(10, power);
    pen.fillText(ns >= 1e9 ? ns / 1e9 + ' s' : ns >= 1e6 ? ns / 1e6 + ' ms' : ns >= 1e3 ? ns / 1e3 + ' µs' : ns + ' ns', box.x0 - 6, level + 4);
  }
  for (const p of [50, 90, 99, 99.9, 99.99]) {
    pen.strokeStyle = ink.grid;
    pen.beginPath();
    pen.moveTo(X(p), box.y0);
    pen.lineTo(X(p), box.y1);
    pen.stroke();
    pen.fillStyle = ink.soft;
    pen.textAlign = p > 99.9 ? 'right' : p < 90 ? 'left' : 'center';
    pen.fillText('p' + p, X(p), box.y1 + 15);
  }
  curves.forEach((curve, n) => {
    pen.strokeStyle = ink.curves[n % ink.curves.length];
    pen.lineWidth = 1.6;
    pen.setLineDash(DASHES[n % DASHES.length]);
    pen.beginPath();
    PERCENTILES.forEach((p, i) => { if (p >= 50) pen.lineTo(X(p), Y(curve.ns[i])); });
    pen.stroke();
  });
  pen.setLineDash([]);
}

let due = false;

function draw() {
  if (due || document.hidden) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const now = state === 'live' && told.frame ? told.frame.row : null;
    const of = key => now ? now[key] : null;
    curve('c-price', past.p, of('price'), { words: price });
    curve('c-velocity', past.v, of('velocity'), { floor: 0, least: 1, filled: true, words: value => rate(value) + ' /s' });
    curve('c-acceleration', past.a, of('acceleration'), { least: 1, filled: true, words: value => rate(value) + ' /s²' });
    curve('c-jerk', past.j, of('jerk'), { least: 1, filled: true, words: value => rate(value) + ' /s³' });
    curve('c-risk', past.r, of('risk'), { low: 0, high: 104, marks: [0, 20, 40, 55, 80], filled: true, labels: true, words: value => whole(value) + ' /100' });
    drawTape();
    drawLatency();
  });
}

// ---- hands ----

function choose(name) {
  if (!name || name === symbol) return;
  symbol = name;
  history.replaceState(null, '', '#' + encodeURIComponent(name));
  for (const button of byId('list').querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.dataset.name === name));
  connect();
}

byId('list').addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button) choose(button.dataset.name);
});
byId('find').addEventListener('submit', event => {
  event.preventDefault();
  choose(byId('name').value.trim().toUpperCase());
});
for (const button of document.querySelectorAll('.ranges button')) {
  button.addEventListener('click', () => {
    seconds = Number(button.dataset.s);
    for (const other of document.querySelectorAll('.ranges button')) other.setAttribute('aria-pressed', String(other === button));
    draw();
  });
}
for (const canvas of document.querySelectorAll('.charts canvas')) {
  canvas.addEventListener('pointermove', event => {
    pointed = Math.min(1, Math.max(0, event.offsetX / (canvas.clientWidth - RIGHT)));
    draw();
  });
  canvas.addEventListener('pointerleave', () => { pointed = null; draw(); });
}
window.addEventListener('resize', draw);
document.addEventListener('visibilitychange', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { colours(); draw(); });

try {
  symbol = decodeURIComponent(location.hash.slice(1)) || 'MARKET';
} catch {
  symbol = 'MARKET';
}
colours();
become('gone');
connect();
setInterval(watch, 500);
