// The report's script: draws search trees when they are opened, and shows a node. It reads the JSON in the element
// `data` and builds elements with textContent, so nothing in the data can become markup or code. No network, no storage.
'use strict';
(function () {
  var DATA = JSON.parse(document.getElementById('data').textContent);
  var N = DATA.nodes, COUNT = N.idx ? N.idx.length : 0;
  for (var column in N) if (!Array.isArray(N[column])) N[column] = new Array(COUNT).fill(N[column]);
  var SVG = 'http://www.w3.org/2000/svg';
  var panel = document.getElementById('node');
  if (!COUNT || !panel) return;
  var kinds = ['good', 'again', 'buggy', 'pending'], hidden = {}, drawn = {}, children = null;
  var wide = false, ancestry = false, shown = -1;

  function element(tag, text, name) {
    var e = document.createElement(tag);
    if (text != null) e.textContent = text;
    if (name) e.className = name;
    return e;
  }
  function shape(tag, attributes, text) {
    var e = document.createElementNS(SVG, tag);
    for (var key in attributes) e.setAttribute(key, attributes[key]);
    if (text != null) e.textContent = text;
    return e;
  }
  function number(x, digits) { return x == null ? '–' : String(+x.toPrecision(digits || 5)); }
  function fixed(x) { return x == null ? '–' : x.toFixed(4); }
  function grouped(x) { return x == null ? '–' : x.toLocaleString('en'); }
  function searchOf(i) {
    var low = 0, high = DATA.searches.length - 1;
    while (low < high) {
      var middle = (low + high + 1) >> 1;
      if (DATA.searches[middle][2] && DATA.searches[middle][1] <= i) low = middle; else high = middle - 1;
    }
    while (!DATA.searches[low][2] || DATA.searches[low][1] > i) low--;
    return low;
  }
  function kindOf(i) {
    var status = DATA.statuses[N.status[i]];
    return status === 'pending' ? 'pending' : status !== 'good' ? 'buggy' : N.same[i] >= 0 ? 'again' : 'good';
  }

  // --- architectures

  function layersOf(i) {
    return Array.from(N.layers[i], function (c) {
      var code = c.charCodeAt(0);
      return code >= 0x100 ? code - 0x100 : code - 97;
    });
  }
  function architectureOf(i) {
    var layers = layersOf(i), out = [];
    if (!layers.length) return DATA.architectures[i] || '';
    for (var k = 0, n; k < layers.length; k += n) {
      for (n = 1; layers[k + n] === layers[k];) n++;
      out.push((n > 1 ? n : '') + DATA.tokens[layers[k]]);
    }
    return out.join(' ');
  }

  // One coloured cell per layer; null leaves a gap. marks: which cells are framed.
  function strip(layers, marks, gone) {
    var n = layers.length, cell = n <= 20 ? 30 : n <= 36 ? 22 : n <= 80 ? 10 : 5;
    var s = shape('svg', {'class': 'strip', viewBox: '-1 -1 ' + (n * cell + 2) + ' 24', width: n * cell + 2, height: 24});
    layers.forEach(function (t, k) {
      if (t == null) return;
      var name = 't' + t % 8 + (marks && marks[k] ? ' changed' : '') + (gone && gone[k] ? ' gone' : '');
      s.appendChild(shape('rect', {'class': name, x: k * cell, y: 0, width: cell - (cell > 6 ? 2 : 1), height: 22}));
      if (cell < 22 || DATA.tokens[t].length > (cell >= 30 ? 3 : 2)) return;
      s.appendChild(shape('text', {'class': 'k' + t % 8, x: k * cell + cell / 2 - 1, y: 15}, DATA.tokens[t]));
    });
    return s;
  }

  // Two architectures side by side with as few changes as possible: lists of equal length, null where one has no layer.
  function align(a, b) {
    var cost = [], i, j;
    for (i = 0; i <= a.length; i++) {
      cost.push([i]);
      for (j = 1; j <= b.length; j++) {
        cost[i][j] = i === 0 ? j : Math.min(cost[i - 1][j - 1] + (a[i - 1] !== b[j - 1]), cost[i - 1][j] + 1, cost[i][j - 1] + 1);
      }
    }
    var x = [], y = [];
    i = a.length; j = b.length;
    while (i > 0 || j > 0) {
      if (i > 0 && j > 0 && cost[i][j] === cost[i - 1][j - 1] + (a[i - 1] !== b[j - 1])) { x.unshift(a[--i]); y.unshift(b[--j]); }
      else if (i > 0 && cost[i][j] === cost[i - 1][j] + 1) { x.unshift(a[--i]); y.unshift(null); }
      else { x.unshift(null); y.unshift(b[--j]); }
    }
    return [x, y];
  }

  function diff(i, parent) {
    var a = layersOf(parent), b = layersOf(i), box = element('div');
    if (!a.length || !b.length || a.length * b.length > 250000) return box;
    var two = align(a, b), marks = two[0].map(function (t, k) { return t !== two[1][k]; });
    var changed = marks.filter(Boolean).length;
    var better = N.score[i] == null || N.score[parent] == null ? null : N.score[i] - N.score[parent];
    box.appendChild(element('h3', 'Against its parent: ' + changed + ' of ' + b.length + ' layers differ' +
      (better == null ? '' : ', search score ' + (better < 0 ? '−' : '+') + Math.abs(better).toFixed(4))));
    var table = element('table', null, 'diff'), words = [];
    [['parent ' + N.idx[parent], two[0], true], ['this', two[1], false]].forEach(function (line) {
      var tr = element('tr'), cell = element('td');
      tr.appendChild(element('td', line[0], 'l dim'));
      cell.appendChild(strip(line[1], line[2] ? null : marks, line[2] ? marks : null));
      tr.appendChild(cell);
      table.appendChild(tr);
    });
    var scroll = element('div', null, 'scroll');
    scroll.appendChild(table);
    box.appendChild(scroll);
    marks.forEach(function (m, k) {
      if (!m || words.length > 12) return;
      var from = two[0][k] == null ? 'nothing' : DATA.tokens[two[0][k]], to = two[1][k] == null ? 'nothing' : DATA.tokens[two[1][k]];
      words.push(words.length === 12 ? '…' : 'layer ' + (k + 1) + ': ' + from + ' → ' + to);
    });
    if (words.length) box.appendChild(element('p', words.join(', '), 'dim'));
    return box;
  }

  // --- learning curves

  function range(lists) {
    var low = Infinity, high = -Infinity;
    lists.forEach(function (list) {
      list.forEach(function (v) { if (v != null) { low = Math.min(low, v); high = Math.max(high, v); } });
    });
    return low <= high ? [low, high] : null;
  }
  function line(curve, column, x, y) {
    var out = '';
    curve[1].forEach(function (step, k) {
      var v = curve[column][k];
      if (v != null) out += (out ? 'L' : 'M') + x(step).toFixed(1) + ' ' + y(v).toFixed(1);
    });
    return out;
  }

  // One column (2: loss, 3: score) of several curves, over those of the parent.
  function chart(curves, before, column, name) {
    var all = curves.concat(before), values = range(all.map(function (c) { return c[column]; }));
    var steps = range(all.map(function (c) { return c[1]; }));
    var filled = curves.some(function (c) { return c[column].filter(function (v) { return v != null; }).length > 1; });
    if (!values || !steps || !filled) return null;
    var right = 400, bottom = 146, left = 50, top = 22, wide = steps[1] - steps[0] || 1, high = values[1] - values[0] || 1;
    var x = function (v) { return left + (v - steps[0]) / wide * (right - left); };
    var y = function (v) { return bottom - (v - values[0]) / high * (bottom - top); };
    var s = shape('svg', {'class': 'plot scatter', viewBox: '0 0 414 184', width: 414, height: 184});
    [values[0], (values[0] + values[1]) / 2, values[1]].forEach(function (v) {
      s.appendChild(shape('path', {'class': 'grid', d: 'M' + left + ' ' + y(v) + 'H' + right}));
      s.appendChild(shape('text', {'class': 'tick', x: left - 6, y: y(v) + 4, 'text-anchor': 'end'}, number(v, 3)));
    });
    s.appendChild(shape('text', {'class': 'tick', x: left, y: bottom + 16}, grouped(steps[0])));
    s.appendChild(shape('text', {'class': 'tick', x: right, y: bottom + 16, 'text-anchor': 'end'}, grouped(steps[1]) + ' steps'));
    before.forEach(function (c) { s.appendChild(shape('path', {'class': 'line before', d: line(c, column, x, y)})); });
    curves.forEach(function (c, k) { s.appendChild(shape('path', {'class': 'line c' + k % 8, d: line(c, column, x, y)})); });
    s.appendChild(shape('text', {'class': 'name', x: 4, y: 12}, name));
    return s;
  }

  function curves(i) {
    var own = DATA.curves[N.evaluation[i]], box = element('div');
    if (N.evaluation[i] < 0) return box;
    box.appendChild(element('h3', 'Training'));
    if (!own) {
      box.appendChild(element('p', 'This page has no room for its curve; it is in journal.db (table evaluation).', 'dim'));
      return box;
    }
    var parent = N.parent[i], before = parent < 0 || N.evaluation[parent] === N.evaluation[i] ? [] : DATA.curves[N.evaluation[parent]] || [];
    var pair = element('div', null, 'pair');
    [[2, 'loss'], [3, DATA.metric]].forEach(function (c) {
      var s = chart(own, before, c[0], c[1]);
      if (s) pair.appendChild(s);
    });
    box.appendChild(pair);
    var legend = element('p', null, 'legend');
    own.forEach(function (c, k) {
      if (own.length === 1 && !before.length) return;
      var span = element('span'), s = shape('svg', {width: 22, height: 10});
      s.appendChild(shape('path', {'class': 'line c' + k % 8, d: 'M1 5h20'}));
      span.appendChild(s);
      span.appendChild(document.createTextNode(c[0] || 'this node'));
      legend.appendChild(span);
    });
    if (before.length) {
      var old = element('span'), mark = shape('svg', {width: 22, height: 10});
      mark.appendChild(shape('path', {'class': 'line before', d: 'M1 5h20'}));
      old.appendChild(mark);
      old.appendChild(document.createTextNode('its parent'));
      legend.appendChild(old);
    }
    box.appendChild(legend);
    return box;
  }

  // --- prompts and answers

  function pooled(k) { return k == null ? '' : DATA.texts.pool[k]; }
  function folded(title, text, open) {
    var details = element('details');
    details.open = open;
    details.appendChild(element('summary', title));
    details.appendChild(element('pre', text));
    return details;
  }
  function call(c, k) {
    var box = element('div'), told = [];
    box.appendChild(element('h3', 'Call ' + (k + 1) + ': ' + c[0] + (c[1] === 'answered' ? '' : ', ' + c[1]) + (c[2] ? ', ' + c[2] : '')));
    told.push('tokens in ' + grouped(c[6]) + (c[7] ? ' (cached ' + grouped(c[7]) + ')' : ''));
    told.push('out ' + grouped(c[8]) + (c[9] ? ' (reasoning ' + grouped(c[9]) + ')' : ''));
    told.push(c[10] == null ? 'cost unknown' : number(c[10]) + ' USD');
    if (c[11] != null) told.push(c[11] < 0.001 ? 'under 1 ms' : number(c[11], 3) + ' s');
    if (c[5] > 1) told.push(c[5] + ' tries');
    box.appendChild(element('p', told.join(' · '), 'dim'));
    if (c[3]) box.appendChild(element('pre', c[3]));
    if (c[4]) box.appendChild(element('p', c[4], 'dim'));
    if (c[12] != null) box.appendChild(folded('answer', pooled(c[12]), true));
    if (c[13] != null) box.appendChild(folded('a stream that was cut', pooled(c[13]), false));
    c[14].forEach(function (m) { box.appendChild(folded('prompt: ' + m[0], m[1].map(pooled).join(''), false)); });
    return box;
  }
  // What was checked, what changed against the parent, the source.
  function design(t) {
    var box = element('div'), failed = t.checks.filter(function (c) { return pooled(c[1]) === 'fail'; });
    if (t.options != null) box.appendChild(element('p', 'Options: ' + pooled(t.options)));
    if (t.checks.length) box.appendChild(folded('checks: ' + (failed.length ? failed.map(function (c) { return pooled(c[0]); }).join(', ') + ' failed' :
      t.checks.length + ' passed'), t.checks.map(function (c) { return c.map(pooled).join('  '); }).join('\n'), failed.length > 0));
    if (t.diff != null) box.appendChild(folded('changes against its parent', pooled(t.diff), true));
    box.appendChild(folded('source', pooled(t.source), t.diff == null));
    return box;
  }
  function texts(i) {
    var box = element('div'), t = DATA.texts.nodes[i];
    if (!t) {
      box.appendChild(element('p', 'This page holds prompts and answers of the best nodes, their ancestors, the last ones and some of ' +
        'each kind of failure; those of this one are in journal.db (tables call and text).', 'dim'));
      return box;
    }
    if (t.source != null) box.appendChild(design(t));
    if (t.analysis != null) box.appendChild(folded('analysis', pooled(t.analysis), true));
    t.calls.forEach(function (c, k) { box.appendChild(call(c, k)); });
    return box;
  }

  // --- one node

  function button(text, i, title) {
    var b = element('button', text);
    if (i >= 0 && i < COUNT) b.onclick = function () { pick(i, panel.previousElementSibling); }; else b.disabled = true;
    if (title) b.title = title;
    return b;
  }
  function childrenOf(i) {
    if (!children) {
      children = {};
      for (var k = 0; k < COUNT; k++) if (N.parent[k] >= 0) (children[N.parent[k]] = children[N.parent[k]] || []).push(k);
    }
    return children[i] || [];
  }
  function facts(i) {
    var list = element('dl'), seeds = N.seeds[i];
    [['search score', fixed(N.score[i]) + (N.spread[i] == null ? '' : ' ± ' + number(N.spread[i], 2))],
     ['selection score', fixed(N.selection[i])],
     ['seeds', seeds ? String(seeds) : '–'],
     ['standing', DATA.standings[N.standing[i]] || '–'],
     ['parameters', grouped(N.parameters[i])],
     ['training FLOPs', N.flops[i] == null ? '–' : N.flops[i].toExponential(2).replace('e+', 'e')],
     ['training time', N.seconds[i] == null ? '–' : number(N.seconds[i], 3) + ' s'],
     ['cost of its calls', N.money[i] == null ? 'unknown' : number(N.money[i], 3) + ' USD']].forEach(function (fact) {
      var pair = element('div');
      pair.appendChild(element('dt', fact[0]));
      pair.appendChild(element('dd', fact[1]));
      list.appendChild(pair);
    });
    return list;
  }
  function lineage(i) {
    var path = [], row = element('div', null, 'row');
    for (var k = i, steps = 0; k >= 0 && steps < COUNT; steps++, k = N.parent[k]) path.unshift(k);
    row.appendChild(element('span', 'Lineage', 'dim'));
    if (path.length > 12) path = path.slice(0, 3).concat([-1], path.slice(-8));
    path.forEach(function (k) {
      if (k < 0) { row.appendChild(element('span', '…')); return; }
      row.appendChild(button(N.idx[k] + (N.score[k] == null ? '' : ': ' + fixed(N.score[k])), k === i ? -1 : k, architectureOf(k)));
    });
    return row;
  }
  function rank(i) { return N.score[i] == null ? -Infinity : DATA.higher ? N.score[i] : -N.score[i]; }
  function offspring(i) {
    var list = childrenOf(i), row = element('div', null, 'row screen');
    if (!list.length) return null;
    row.appendChild(element('span', list.length === 1 ? 'Child' : list.length + ' children, best first', 'dim'));
    list = list.slice().sort(function (a, b) { return rank(b) - rank(a); });
    list.slice(0, 10).forEach(function (k) {
      row.appendChild(button(N.idx[k] + (N.score[k] == null ? ': ' + kindOf(k) : ': ' + fixed(N.score[k])), k, architectureOf(k)));
    });
    if (list.length > 10) row.appendChild(element('span', 'and ' + (list.length - 10) + ' more', 'dim'));
    return row;
  }

  // Shows node i below the element `where`.
  function pick(i, where) {
    var s = searchOf(i), row = element('div', null, 'row screen'), status = DATA.statuses[N.status[i]], first = DATA.searches[s][1];
    panel.textContent = '';
    panel.appendChild(element('h3', 'Search ' + DATA.searches[s][0] + ', node ' + N.idx[i] + ': ' + DATA.operators[N.operator[i]] +
      ', ' + status + (N.same[i] >= 0 ? ' (duplicate)' : '') + (DATA.causes[N.cause[i]] ? ', cause ' + DATA.causes[N.cause[i]] : '') +
      (i === DATA.won ? ' — submitted' : '')));
    panel.appendChild(element('p', architectureOf(i) || 'no candidate: the answer did not parse', 'arch'));
    if (N.layers[i]) panel.appendChild(strip(layersOf(i)));
    if (N.parent[i] >= 0) row.appendChild(button('parent ' + N.idx[N.parent[i]], N.parent[i]));
    if (N.other[i] >= 0) row.appendChild(button('other parent ' + N.idx[N.other[i]], N.other[i]));
    if (N.same[i] >= 0) row.appendChild(button('same as ' + N.idx[N.same[i]], N.same[i]));
    row.appendChild(button('← previous', i > first ? i - 1 : -1));
    row.appendChild(button('next →', i + 1 < first + DATA.searches[s][2] ? i + 1 : -1));
    panel.appendChild(row);
    panel.appendChild(facts(i));
    var why = DATA.decisions[N.decision[i]];
    if (why) panel.appendChild(element('p', 'Why this operator: ' + why, 'dim'));
    if (DATA.tests[i]) panel.appendChild(element('p', 'Test as a contender: ' + DATA.tests[i]));
    if (DATA.notes[i]) panel.appendChild(element('pre', DATA.notes[i]));
    var plan = DATA.texts.nodes[i] && DATA.texts.nodes[i].plan;
    if (plan != null) { panel.appendChild(element('h3', 'Plan')); panel.appendChild(element('pre', pooled(plan))); }
    panel.appendChild(lineage(i));
    if (N.parent[i] >= 0) panel.appendChild(diff(i, N.parent[i]));
    var below = offspring(i);
    if (below) panel.appendChild(below);
    panel.appendChild(curves(i));
    panel.appendChild(texts(i));
    shown = i;
    for (var k in drawn) mark(drawn[k], i);
    if (!where) return;
    if (panel.previousElementSibling !== where) where.after(panel);
    panel.scrollIntoView({block: 'nearest'});
    try { history.replaceState(null, '', '#n' + i); } catch (e) { /* some viewers of local files refuse */ }
  }

  // --- trees: every kind of node is one path, so ten thousand of them are four elements

  function axisStep(span) {
    var step = Math.pow(10, Math.floor(Math.log10(span / 5 || 1))), rest = span / 5 / step;
    return step * (rest > 5 ? 10 : rest > 2 ? 5 : rest > 1 ? 2 : 1);
  }
  function ticks(s, t) {
    var step = axisStep(t.y1 - t.y0), decimals = Math.min(9, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))), v;
    for (v = Math.ceil(t.y0 / step) * step; v <= t.y1 + 1e-12; v += step) {
      s.appendChild(shape('path', {'class': 'grid', d: 'M' + t.left + ' ' + t.y(v).toFixed(1) + 'h' + t.width}));
      s.appendChild(shape('text', {'class': 'tick', x: t.left - 6, y: t.y(v) + 4, 'text-anchor': 'end'}, v.toFixed(decimals)));
    }
    step = Math.max(1, axisStep(t.n));
    for (v = 0; v < t.n; v += step) {
      s.appendChild(shape('text', {'class': 'tick', x: t.x(v), y: t.bottom + 16, 'text-anchor': 'middle'}, grouped(v)));
    }
    s.appendChild(shape('text', {'class': 'name', x: 4, y: 12}, DATA.metric + ', search split'));
    s.appendChild(shape('text', {'class': 'name', x: t.left + t.width, y: t.bottom + 33, 'text-anchor': 'end'}, 'node'));
  }

  function scoreRange(scores) {
    var sorted = scores.filter(function (v) { return v != null; }).sort(function (a, b) { return a - b; });
    if (!sorted.length) return [0, 1];
    return [sorted[0], sorted[sorted.length - 1] > sorted[0] ? sorted[sorted.length - 1] : sorted[0] + 1e-3];
  }
  // Place of every node: by order and score, or by ancestry: children below their parent, side by side.
  function byScore(t) {
    for (var k = 0; k < t.n; k++) {
      var v = N.score[t.first + k];
      t.px[k] = t.x(k);
      t.py[k] = v == null ? t.bottom - 8 : t.y(v);
    }
  }
  function byAncestry(t) {
    var depth = [], low = [], high = [], leaves = 0, deepest = 1, i, k;
    // Parents come before their children, so one pass up and one pass down do; leaves stand in the order of a walk.
    for (k = 0; k < t.n; k++) {
      depth[k] = N.parent[t.first + k] < t.first ? 0 : depth[N.parent[t.first + k] - t.first] + 1;
      deepest = Math.max(deepest, depth[k]);
    }
    var stack = [];
    for (k = t.n - 1; k >= 0; k--) if (!depth[k]) stack.push(t.first + k);
    while (stack.length) {
      i = stack.pop();
      var list = childrenOf(i);
      for (k = list.length - 1; k >= 0; k--) stack.push(list[k]);
      if (!list.length) low[i - t.first] = high[i - t.first] = leaves++;
    }
    for (k = t.n - 1; k >= 0; k--) {
      var parent = N.parent[t.first + k] - t.first;
      if (low[k] == null || parent < 0) continue;
      low[parent] = low[parent] == null ? low[k] : Math.min(low[parent], low[k]);
      high[parent] = high[parent] == null ? high[k] : Math.max(high[parent], high[k]);
    }
    for (k = 0; k < t.n; k++) {
      t.px[k] = t.left + 8 + (leaves > 1 ? ((low[k] || 0) + (high[k] || 0)) / 2 / (leaves - 1) : 0.5) * (t.width - 16);
      t.py[k] = t.top + 4 + depth[k] / deepest * (t.height - 12);
    }
  }
  function layout(search) {
    var first = DATA.searches[search][1], n = DATA.searches[search][2];
    var between = scoreRange(N.score.slice(first, first + n)), margin = 0.06 * (between[1] - between[0]);
    var t = {first: first, n: n, left: ancestry ? 8 : 52, top: 26, height: 250, y1: between[1] + margin, y0: between[0] - margin, px: [], py: []};
    t.width = (wide ? Math.min(12000, Math.max(860, n * 5)) : 860) + 52 - t.left;
    t.bottom = t.top + t.height;
    t.radius = n > 2000 ? 2 : n > 400 ? 2.6 : n > 120 ? 3.6 : 4.5;
    t.x = function (k) { return t.left + 8 + (n > 1 ? k / (n - 1) : 0.5) * (t.width - 16); };
    t.y = function (v) { return t.top + (t.y1 - v) / (t.y1 - t.y0) * (t.height - 26); };
    t.at = function (i) { return [t.px[i - first], t.py[i - first]]; };
    (ancestry ? byAncestry : byScore)(t);
    return t;
  }
  function draw(details) {
    var search = +details.dataset.search;
    if (drawn[search]) return;
    var t = layout(search), paths = {good: '', again: '', buggy: '', pending: ''}, links = '';
    var s = shape('svg', {'class': 'plot tree', width: t.left + t.width + 14, height: t.bottom + 40,
      viewBox: '0 0 ' + (t.left + t.width + 14) + ' ' + (t.bottom + 40), role: 'img', 'aria-label': 'search tree'});
    if (!ancestry) ticks(s, t);
    for (var i = t.first; i < t.first + t.n; i++) {
      var at = t.at(i), where = at[0].toFixed(1) + ' ' + at[1].toFixed(1);
      paths[kindOf(i)] += 'M' + where + 'h0';
      if (N.parent[i] < 0) continue;
      var from = t.at(N.parent[i]);
      links += 'M' + from[0].toFixed(1) + ' ' + from[1].toFixed(1) + 'L' + where;
    }
    if (!ancestry) s.appendChild(shape('path', {'class': 'axis', d: 'M' + t.left + ' ' + t.bottom + 'h' + t.width}));
    s.appendChild(shape('path', {'class': t.n > 300 ? 'link many' : 'link', d: links}));
    t.trail = s.appendChild(shape('path', {'class': 'trail'}));
    t.paths = {};
    kinds.forEach(function (kind) {
      t.paths[kind] = s.appendChild(shape('path', {'class': 'nodes ' + kind, d: paths[kind], 'stroke-width': 2 * t.radius}));
      if (hidden[kind]) t.paths[kind].style.display = 'none';
    });
    if (DATA.won >= t.first && DATA.won < t.first + t.n) {
      var won = t.at(DATA.won);
      s.appendChild(shape('circle', {'class': 'won', cx: won[0], cy: won[1], r: t.radius + 1.5}));
    }
    t.picked = s.appendChild(shape('circle', {'class': 'picked', r: t.radius + 4, cx: -99, cy: -99}));
    t.title = s.appendChild(shape('title', {}));
    t.svg = s;
    drawn[search] = t;
    var scroll = element('div', null, 'scroll');
    scroll.appendChild(s);
    details.appendChild(scroll);
    mark(t, shown);
    s.addEventListener('click', function (event) {
      var i = nearest(t, event, 30);
      if (i >= 0) pick(i, details);
    });
    s.addEventListener('mousemove', function (event) {
      var i = nearest(t, event, 12);
      t.title.textContent = i < 0 ? '' : 'node ' + N.idx[i] + ': ' + DATA.operators[N.operator[i]] + ', ' + fixed(N.score[i]) + '  ' + architectureOf(i);
    });
  }
  // The nearest visible node within so many pixels.
  function nearest(t, event, reach) {
    var p = t.svg.createSVGPoint(), best = -1, least = reach * reach;
    p.x = event.clientX;
    p.y = event.clientY;
    p = p.matrixTransform(t.svg.getScreenCTM().inverse());
    for (var k = 0; k < t.n; k++) {
      var x = t.px[k] - p.x, y = t.py[k] - p.y, d = x * x + y * y;
      if (d < least && !hidden[kindOf(t.first + k)]) { least = d; best = t.first + k; }
    }
    return best;
  }
  // Marks node i and its ancestors in the tree that holds it.
  function mark(t, i) {
    var path = '', inside = i >= t.first && i < t.first + t.n, at = inside ? t.at(i) : [-99, -99];
    t.picked.setAttribute('cx', at[0]);
    t.picked.setAttribute('cy', at[1]);
    for (var k = inside ? i : -1, steps = 0; k >= 0 && steps < t.n; steps++, k = N.parent[k]) path += (path ? 'L' : 'M') + t.at(k).join(' ');
    t.trail.setAttribute('d', path);
  }

  document.querySelectorAll('details.tree').forEach(function (details) {
    if (details.open) draw(details);
    details.addEventListener('toggle', function () { if (details.open) draw(details); });
  });
  function redraw() {
    wide = document.getElementById('wide').checked;
    ancestry = document.getElementById('ancestry').checked;
    for (var k in drawn) {
      var details = drawn[k].svg.closest('details');
      drawn[k].svg.parentNode.remove();
      delete drawn[k];
      if (details.open) draw(details);
    }
  }
  document.getElementById('wide').addEventListener('change', redraw);
  document.getElementById('ancestry').addEventListener('change', redraw);
  document.querySelectorAll('#kinds input[data-kind]').forEach(function (box) {
    box.addEventListener('change', function () {
      hidden[box.dataset.kind] = !box.checked;
      for (var k in drawn) drawn[k].paths[box.dataset.kind].style.display = box.checked ? '' : 'none';
    });
  });
  document.querySelectorAll('tr[data-node]').forEach(function (row) {
    function open() { pick(+row.dataset.node, row.closest('.scroll')); }
    row.addEventListener('click', open);
    row.addEventListener('keydown', function (event) { if (event.key === 'Enter') open(); });
  });
  var wanted = /^#n(\d+)$/.exec(location.hash), begin = wanted && +wanted[1] < COUNT ? +wanted[1] : -1;
  if (begin >= 0) {
    var details = document.querySelector('details.tree[data-search="' + searchOf(begin) + '"]');
    details.open = true;
    draw(details);
    pick(begin, details);
  } else {
    pick(+panel.dataset.node, null);
  }
})();
