// The trace player: turns a recording in the page into a picture that moves, step by step.
// Without this script the page keeps its tables and sentences; everything here is added to them.

(() => {
  "use strict";

  const COLOURS = ["blue", "orange", "green", "purple", "teal", "gold"];
  const STATUS = [["◌", "to come"], ["…", "waits"], ["▸", "runs"], ["×", "gave way, waits"], ["■", "finished"]];
  const GLYPHS = { start: "○", arrive: "↘", prompt: "▤", hit: "◆", decode: "▸", preempt: "×", evict: "⌫", wait: "…", finish: "■", free: "↩" };
  const MARKS = { new: "new", evicted: "evicted", hit: "hit", freed: "freed" };
  const ICONS = { back: "M11 3 4 8l7 5zM3 3v10", forward: "M5 3l7 5-7 5zM13 3v10", play: "M4 2.5v11L13 8z", pause: "M4.5 3v10M11.5 3v10" };
  const SPEEDS = [0.5, 1, 2, 4];
  const PACE = 1500; // milliseconds a step at speed 1
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  const make = (tag, css, parent, text) => {
    const node = document.createElement(tag);
    if (css) node.className = css;
    if (text !== undefined) node.textContent = text;
    parent?.append(node);
    return node;
  };
  const colour = (index) => `tp-${COLOURS[index % COLOURS.length]}`;
  const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
  const set = (node, name, value) => node[name] === value || (node[name] = value);

  const icon = (name) =>
    `<svg viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d="${ICONS[name]}"/></svg>`;

  // A frame comes as a list; give its parts their names.
  const frameOf = ([step, requests, refs, names, queue, marks, events]) => ({
    step, refs, names, queue, marks, events,
    requests: requests.map(([status, before, cached, scheduled, computed, tokens, drawn, blocks]) => ({
      status, before, cached, scheduled, computed, tokens, drawn, blocks,
    })),
  });

  // ---------------------------------------------------------------- one engine

  class Lane {
    constructor(data, show, parent) {
      Object.assign(this, data);
      this.frames = data.frames.map(frameOf);
      this.root = make("div", "tp-lane", parent);
      if (this.label) make("p", "tp-lane-title", this.root, this.label);
      this.memory = show.has("blocks") || show.has("queue");
      if (show.has("budget")) this.buildBudget();
      if (show.has("requests")) this.buildRequests(show.has("blocks"));
      if (show.has("blocks")) this.buildPool();
      if (show.has("queue")) this.buildQueue();
    }

    panel(css, title) {
      const panel = make("section", `tp-panel ${css}`, this.root);
      const head = make("p", "tp-title", panel);
      make("span", "", head, title);
      panel.note = make("span", "tp-note", head);
      return panel;
    }

    buildBudget() {
      this.budgetPanel = this.panel("tp-budget", "Token budget");
      this.bar = make("div", "tp-bar", this.budgetPanel);
      this.bar.style.setProperty("--budget", this.budget);
    }

    drawBudget({ requests, step }) {
      const used = requests.reduce((sum, r) => sum + r.scheduled, 0);
      set(this.budgetPanel.note, "textContent", step ? `${used} / ${this.budget} tokens` : `${this.budget} tokens a step`);
      this.bar.replaceChildren();
      requests.forEach((r, i) => {
        if (!r.scheduled) return;
        const part = make("span", `tp-part ${colour(i)}`, this.bar);
        part.style.flexGrow = r.scheduled;
        make("b", "", part, this.requests[i][0]);
        part.append(` ${r.scheduled}`);
      });
      const rest = make("span", "tp-rest", this.bar, used < this.budget && this.budget - used > this.budget / 6 ? `${this.budget - used} left` : "");
      rest.style.flexGrow = this.budget - used;
    }

    buildRequests(withBlocks) {
      this.withBlocks = withBlocks;
      this.requestPanel = this.panel(`tp-requests${withBlocks ? "" : " tp-plain"}`, "Requests");
      this.rows = this.requests.map(([name], i) => {
        const row = make("div", `tp-row ${colour(i)}`, this.requestPanel);
        const who = make("div", "tp-who", row);
        make("b", "tp-chip", who, name);
        const status = make("span", "tp-status", who);
        const count = make("span", "tp-count", who);
        const strip = make("div", "tp-strip", row);
        strip.setAttribute("aria-hidden", "true");
        const most = Math.max(...this.frames.map((f) => Math.max(f.requests[i].tokens, f.requests[i].blocks.length * this.size)));
        const groups = Array.from({ length: Math.ceil(most / this.size) }, () => {
          const group = make("span", "tp-group", strip);
          const id = make("b", "tp-id", group);
          const cells = make("span", "tp-cells", group);
          return { id, cells: Array.from({ length: this.size }, () => make("i", "", cells)) };
        });
        return { row, status, count, groups };
      });
    }

    drawRequests({ requests, marks }) {
      const running = requests.filter((r) => r.status === 2).length;
      set(this.requestPanel.note, "textContent", `${running} of ${plural(this.seats, "seat")} taken`);
      requests.forEach((r, i) => {
        const { row, status, count, groups } = this.rows[i];
        const [, prompt, , arrives] = this.requests[i];
        row.dataset.status = r.status;
        const [sign, word] = STATUS[r.status];
        set(status, "textContent", r.status ? `${sign} ${word}` : `${sign} comes in step ${arrives}`);
        const now = r.scheduled ? `, +${r.scheduled}` : "";
        set(count, "textContent", r.status === 0 ? `${plural(prompt, "token")}` : `${r.computed} of ${r.tokens} computed${now}`);
        groups.forEach(({ id, cells }, g) => {
          const block = r.blocks[g];
          set(id, "textContent", this.withBlocks && block ? `${block}` : "");
          set(id, "className", `tp-id${block && marks[block] ? " tp-fresh" : ""}`);
          cells.forEach((cell, k) => set(cell, "className", this.cell(r, g * this.size + k, prompt, block)));
        });
      });
    }

    // The class of one token, or of one slot without a token.
    cell(r, place, prompt, block) {
      if (place >= r.tokens) return block && this.withBlocks ? "tp-s" : "";
      const answer = place < prompt ? "" : " tp-a";
      if (r.status === 4 && !r.blocks.length && !r.scheduled) return `tp-g${answer}`;
      if (place >= r.computed) return `tp-u${answer}${place >= r.tokens - r.drawn ? " tp-drawn" : ""}`;
      if (place < r.before) return `tp-c${answer}`;
      return (place < r.before + r.cached ? "tp-h" : "tp-n") + answer;
    }

    buildPool() {
      this.poolPanel = this.panel("tp-pool", "Blocks of the pool");
      const grid = make("div", "tp-blocks", this.poolPanel);
      grid.setAttribute("role", "toolbar");
      grid.setAttribute("aria-label", "Blocks: arrow keys move from block to block");
      this.detail = make("p", "tp-detail", this.poolPanel);
      this.blocksShown = Array.from({ length: this.blocks - 1 }, (_, k) => {
        const id = k + 1;
        const node = make("button", "tp-block", grid);
        node.type = "button";
        node.tabIndex = id === 1 ? 0 : -1;
        const parts = {};
        for (const name of ["number", "count", "owner", "range", "mark"]) parts[name] = make("span", `tp-${name}`, node);
        parts.number.textContent = id;
        node.addEventListener("focus", () => this.tell(id));
        node.addEventListener("pointerenter", () => this.tell(id));
        node.addEventListener("click", () => this.tell(id));
        return { node, ...parts };
      });
      grid.addEventListener("pointerleave", () => grid.contains(document.activeElement) || this.tell(0));
      grid.addEventListener("focusout", () => this.tell(0));
      grid.addEventListener("keydown", (event) => this.rove(event, grid));
    }

    rove(event, grid) {
      const at = this.blocksShown.findIndex(({ node }) => node === document.activeElement);
      if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
      const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
      const last = this.blocksShown.length - 1;
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      const next = this.blocksShown[Math.min(Math.max(to, 0), last)].node;
      this.blocksShown[at].node.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }

    holders({ requests }, id) {
      return requests.flatMap((r, i) => (r.blocks.includes(id) ? [i] : []));
    }

    range(index) {
      return `${index * this.size}–${index * this.size + this.size - 1}`;
    }

    drawPool(frame) {
      const used = frame.refs.filter(Boolean).length;
      set(this.poolPanel.note, "textContent", `${used} held + ${frame.queue.length} free = ${this.blocks - 1}`);
      this.blocksShown.forEach(({ node, count, owner, range, mark }, k) => {
        const id = k + 1;
        const held = this.holders(frame, id);
        const name = frame.names[id];
        let css = "tp-block";
        if (held.length) css += ` tp-held ${colour(held[0])}${held.length > 1 ? " tp-shared" : ""}`;
        else if (name) css += ` tp-cached ${colour(name[0])}`;
        const kind = frame.marks[id];
        set(node, "className", css + (kind ? ` tp-m-${kind}` : ""));
        node.style.setProperty("--second", held.length > 1 ? `var(--tp-${COLOURS[held[1] % COLOURS.length]})` : "");
        set(owner, "textContent", held.length ? held.map((i) => this.requests[i][0]).join(" ") : name ? this.requests[name[0]][0].toLowerCase() : "");
        const index = held.length ? frame.requests[held[0]].blocks.indexOf(id) : name ? name[1] : -1;
        set(range, "textContent", index < 0 ? "" : this.range(index));
        set(count, "textContent", frame.refs[id] ? `×${frame.refs[id]}` : "");
        set(mark, "textContent", MARKS[kind] ?? "");
        node.setAttribute("aria-label", this.sentence(frame, id));
      });
      this.tell(this.told || 0, frame);
    }

    sentence(frame, id) {
      const held = this.holders(frame, id);
      const name = frame.names[id];
      const who = held.map((i) => this.requests[i][0]).join(" and ");
      const mark = { new: " Handed out in this step.", evicted: " Handed out in this step; what it held before can no longer be found.", hit: " A prefix hit of this step.", freed: " Given back in this step." }[frame.marks[id]] ?? "";
      if (held.length) {
        const index = frame.requests[held[0]].blocks.indexOf(id);
        const tokens = `tokens ${this.range(index).replace("–", " to ")}`;
        const findable = name ? "full, so others with the same beginning can find it" : "not full yet";
        return `Block ${id}: held by ${who} (ref_cnt ${frame.refs[id]}) for its ${tokens}; ${findable}.${mark}`;
      }
      const place = frame.queue.indexOf(id);
      const where = place === 0 ? "next to be handed out" : `number ${place + 1} in the free queue`;
      const rest = name
        ? `still has the tokens ${this.range(name[1]).replace("–", " to ")} of ${this.requests[name[0]][0]}, which a prefix hit can find`
        : "nothing in it can be found";
      return `Block ${id}: free, ${where}; ${rest}.${mark}`;
    }

    tell(id, frame = this.frame) {
      this.told = id;
      const text = id && frame ? this.sentence(frame, id) : "Point at a block, or step through them with Tab and the arrow keys, to read about it.";
      set(this.detail, "textContent", text);
    }

    buildQueue() {
      this.queuePanel = this.panel("tp-queue", "Free queue");
      this.queuePanel.note.textContent = "left: handed out next";
      this.chips = make("ol", "tp-chips", this.queuePanel);
      this.chips.setAttribute("aria-label", "Free queue, next block first");
      this.chipOf = new Map();
      for (let id = 1; id < this.blocks; id++) this.chipOf.set(id, make("li", "", null, id));
      // The panel keeps the height of the longest queue.
      this.room = make("ol", "tp-chips tp-ghost", this.queuePanel);
      this.room.setAttribute("aria-hidden", "true");
      for (let id = 1; id < this.blocks; id++) make("li", "", this.room, id);
    }

    drawQueue(frame, moving) {
      const before = new Map();
      if (moving) for (const chip of this.chips.children) before.set(chip, chip.getBoundingClientRect());
      const chips = frame.queue.map((id) => {
        const chip = this.chipOf.get(id);
        const name = frame.names[id];
        set(chip, "className", `${name ? `tp-cached ${colour(name[0])}` : ""}${frame.marks[id] === "freed" ? " tp-fresh" : ""}`);
        chip.title = this.sentence(frame, id);
        return chip;
      });
      this.chips.replaceChildren(...chips);
      if (!chips.length) make("li", "tp-none", this.chips, "empty: nobody can get a block");
      if (!moving) return;
      for (const chip of chips) {
        const from = before.get(chip);
        const to = chip.getBoundingClientRect();
        const steps = from
          ? [{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)` }, { transform: "none" }]
          : [{ opacity: 0, transform: "translateY(-8px)" }, { opacity: 1, transform: "none" }];
        if (!from || from.x !== to.x || from.y !== to.y) chip.animate(steps, { duration: 280, easing: "ease-out" });
      }
    }

    draw(step, moving) {
      const frame = (this.frame = this.frames[step] ?? this.over());
      if (this.bar) this.drawBudget(frame);
      if (this.rows) this.drawRequests(frame);
      if (this.blocksShown) this.drawPool(frame);
      if (this.chips) this.drawQueue(frame, moving);
    }

    // The frame of an engine that has ended while the other lane goes on: nothing happens any more.
    over() {
      const end = this.frames[this.frames.length - 1];
      const requests = end.requests.map((r) => ({ ...r, before: r.computed, cached: 0, scheduled: 0, drawn: 0 }));
      return { ...end, requests, marks: {} };
    }

    // What happened, as pairs of kind and sentence.
    news(step) {
      if (step < this.frames.length) {
        return this.frames[step].events.filter(([kind]) => this.memory || !["evict", "free"].includes(kind));
      }
      return [["finish", `Nothing is left to do: the last request ended in step ${this.frames.length - 1}.`]];
    }
  }

  // ---------------------------------------------------------------- the player

  class Player {
    constructor(root) {
      this.root = root;
      const data = JSON.parse(root.querySelector(".tp-data").textContent);
      this.name = data.name;
      this.last = Math.max(...data.lanes.map((lane) => lane.frames.length)) - 1;
      this.speed = 1;
      this.timer = 0;
      const controls = make("div", "tp-controls");
      this.buildControls(controls);
      const stage = make("div", "tp-stage");
      this.news = make("div", "tp-news", stage);
      const show = new Set(root.dataset.show.split(" "));
      const lanes = make("div", `tp-lanes${data.lanes.length > 1 ? " tp-several" : ""}`, stage);
      this.lanes = data.lanes.map((lane) => new Lane(lane, show, lanes));
      this.buildNews();
      // The table of steps stays where it is, as the time line between controls and stage.
      root.querySelector(".tp-still").before(controls);
      root.querySelector(".tp-still").after(stage);
      this.grids = [...root.querySelectorAll(".tp-grid")];
      for (const grid of this.grids) {
        grid.addEventListener("click", (event) => {
          const cell = event.target.closest("[data-step]");
          if (cell) this.seek(Number(cell.dataset.step));
        });
      }
      root.addEventListener("keydown", (event) => this.key(event));
      root.classList.add("tp-on");
      this.go(Number(root.dataset.start), false);
      this.plays = Number(root.dataset.plays ?? 0);
      if (this.plays && !still.matches) this.playWhenSeen();
    }

    // Runs by itself as often as the page says, from when it is in sight, until a reader touches it.
    playWhenSeen() {
      const stop = () => (this.plays = 0);
      for (const kind of ["pointerdown", "keydown"]) this.root.addEventListener(kind, stop, { once: true });
      const watch = new IntersectionObserver(([entry]) => {
        if (!this.plays) watch.disconnect();
        else if (entry.isIntersecting && !this.timer) this.play();
        else if (!entry.isIntersecting && this.timer) this.pause();
      }, { threshold: 0.4 });
      watch.observe(this.root);
    }

    // At the last step: once more, after a while, if the page still has runs to give.
    end() {
      this.pause();
      if (this.plays && --this.plays) {
        setTimeout(() => {
          if (!this.plays || this.timer || this.step !== this.last) return;
          this.go(Number(this.root.dataset.start));
          this.play();
        }, 2 * PACE);
      }
    }

    buildControls(bar) {
      bar.setAttribute("role", "group");
      bar.setAttribute("aria-label", "Controls of the player");
      const button = (name, label, action) => {
        const node = make("button", `tp-button tp-${name}`, bar);
        node.type = "button";
        node.innerHTML = icon(name);
        node.setAttribute("aria-label", label);
        node.title = label;
        node.addEventListener("click", action);
        return node;
      };
      this.back = button("back", "Step back (←)", () => this.seek(this.step - 1));
      this.playButton = button("play", "Play (space)", () => this.toggle());
      this.forward = button("forward", "Step forward (→)", () => this.seek(this.step + 1));
      this.scrub = make("input", "tp-scrub", bar);
      Object.assign(this.scrub, { type: "range", min: 0, max: this.last, step: 1 });
      this.scrub.setAttribute("aria-label", "Step");
      this.scrub.addEventListener("input", () => this.seek(Number(this.scrub.value)));
      this.where = make("span", "tp-where", bar);
      const label = make("label", "tp-speed", bar);
      make("span", "", label, "Speed ");
      const speed = make("select", "", label);
      for (const value of SPEEDS) make("option", "", speed, `${value}×`).value = value;
      speed.value = 1;
      speed.addEventListener("change", () => {
        this.speed = Number(speed.value);
        if (this.timer) this.play();
      });
      this.link = make("a", "tp-link", bar, "#");
      this.link.title = "A link to this step";
      this.link.setAttribute("aria-label", this.link.title);
    }

    // The sentences of all steps lie in one place, so that the box keeps the height of the tallest.
    buildNews() {
      const ghosts = Array.from({ length: this.last + 1 }, (_, step) => {
        const box = make("div", "tp-told tp-ghost", this.news);
        box.setAttribute("aria-hidden", "true");
        this.tellInto(box, step);
        return box;
      });
      this.told = make("div", "tp-told", this.news);
      this.told.setAttribute("role", "status");
      this.told.setAttribute("aria-live", "polite");
      this.told.setAttribute("aria-atomic", "true");
      return ghosts;
    }

    tellInto(box, step) {
      box.replaceChildren();
      make("b", "tp-step", box, step ? `Step ${step}.` : "Start.");
      const columns = make("div", "tp-columns", box);
      for (const lane of this.lanes) {
        const column = make("div", "tp-column", columns);
        if (lane.label) make("p", "tp-lane-title", column, lane.label);
        for (const [kind, text] of lane.news(step)) {
          const line = make("p", `tp-event tp-e-${kind}`, column);
          make("span", "tp-glyph", line, GLYPHS[kind] ?? "·").setAttribute("aria-hidden", "true");
          make("span", "", line, text);
        }
      }
    }

    go(step, moving = true) {
      const to = Math.min(Math.max(step, 0), this.last);
      if (to === this.step) return;
      this.step = to;
      for (const lane of this.lanes) lane.draw(to, moving && !still.matches);
      this.tellInto(this.told, to);
      const text = `step ${to} of ${this.last}`;
      set(this.where, "textContent", text);
      this.scrub.value = to;
      this.scrub.style.setProperty("--done", this.last ? to / this.last : 0);
      this.scrub.setAttribute("aria-valuetext", text);
      this.back.setAttribute("aria-disabled", to === 0);
      this.forward.setAttribute("aria-disabled", to === this.last);
      this.link.href = `#trace=${this.name}&step=${to}`;
      for (const grid of this.grids) {
        for (const cell of grid.querySelectorAll(".tp-now")) cell.classList.remove("tp-now");
        for (const cell of grid.querySelectorAll(`[data-step="${to}"]`)) cell.classList.add("tp-now");
      }
      if (to === this.last) this.end();
    }

    // The reader takes over: what plays by itself stops.
    seek(step) {
      this.pause();
      this.go(step);
    }

    toggle() {
      if (this.timer) this.pause();
      else {
        if (this.step === this.last) this.go(0);
        this.play();
      }
    }

    play() {
      clearInterval(this.timer);
      // While it runs by itself, nobody could listen to every sentence.
      this.told.setAttribute("aria-live", "off");
      this.timer = setInterval(() => this.go(this.step + 1), PACE / this.speed);
      this.face("pause", "Pause (space)");
    }

    pause() {
      clearInterval(this.timer);
      this.timer = 0;
      this.told.setAttribute("aria-live", "polite");
      this.face("play", "Play (space)");
    }

    face(name, label) {
      this.playButton.innerHTML = icon(name);
      this.playButton.title = label;
      this.playButton.setAttribute("aria-label", label);
      this.root.classList.toggle("tp-playing", name === "pause");
    }

    key(event) {
      if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
      const target = event.target;
      if (target.closest("select")) return;
      const actions = {
        ArrowRight: () => this.seek(this.step + 1),
        ArrowLeft: () => this.seek(this.step - 1),
        Home: () => this.seek(0),
        End: () => this.seek(this.last),
      };
      // A button, a link and a fold have their own use for the space bar.
      if (!target.closest("button, a, summary")) actions[" "] = () => this.toggle();
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }
  }

  const players = [];

  // #trace=NAME&step=12 shows that step of the first player of that name.
  function follow() {
    const wish = new URLSearchParams(location.hash.slice(1));
    const player = players.find(({ name }) => name === wish.get("trace"));
    const step = Number(wish.get("step"));
    if (!player || !Number.isInteger(step)) return;
    player.pause();
    player.go(step, false);
    player.root.scrollIntoView({ block: "start" });
  }

  for (const root of document.querySelectorAll(".trace-player")) players.push(new Player(root));
  if (players.length) {
    follow();
    addEventListener("hashchange", follow);
  }
})();
