/** Work on the DOM, at most once in a frame however often it is asked for. */

const QUIET = 60;
const LONGEST = 400;

export class Frame {
  /** @param {() => void} work */
  constructor(work) {
    this.work = work;
    this.asked = false;
    this.timer = null;
    this.burst = null;
  }

  /** In the next frame. */
  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.work();
    });
  }

  /** In a frame after so many ms. */
  askIn(wait) {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.ask();
    }, wait);
  }

  /** Once the burst is over that this belongs to: a minute closes for all symbols at once. */
  askAfterBurst() {
    const now = performance.now();
    if (!this.burst) {
      this.burst = { began: now };
      setTimeout(() => this.look(), QUIET);
    }
    this.burst.newest = now;
  }

  /** Is the burst over? */
  look() {
    const now = performance.now();
    const { began, newest } = this.burst;
    if (now - newest < QUIET && now - began < LONGEST) {
      setTimeout(() => this.look(), QUIET);
      return;
    }
    this.burst = null;
    this.ask();
  }
}
