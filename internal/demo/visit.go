package demo

import (
	"context"
	"math/rand/v2"
	"time"
)

// visit is one person writing about one matter.
type visit struct {
	c      *crowd
	p      *person
	r      *rand.Rand
	keys   keys
	letter bool // through the bridge
	again  bool // he came before
	second bool // about what he wrote by the web page before
}

// longest is what a visit may take: shorter than a visitor's token lives.
const longest = 12 * time.Minute

// human is a time between two numbers of seconds, at the demo's pace.
func (v *visit) human(from, to int) time.Duration { return human(v.r, v.c.cfg.Pace, from, to) }

func human(r *rand.Rand, pace float64, from, to int) time.Duration {
	seconds := float64(from) + r.Float64()*float64(to-from)
	return time.Duration(seconds / pace * float64(time.Second))
}

func (v *visit) run(ctx context.Context) {
	defer v.c.gone(v)
	whole := ctx
	ctx, stop := context.WithTimeout(ctx, longest)
	defer stop()
	l, err := v.arrive(ctx)
	if err == nil {
		err = v.talk(ctx, l)
		_ = l.leave(ctx, false) // however it ended, the window is closed
	}
	if err != nil && whole.Err() == nil && !quiet(err) {
		v.c.tally.add(func(t *tally) { t.failed++ })
		v.c.cfg.Log.DebugContext(whole, "demo: visit", "person", v.p.number, "error", err)
	}
}

func (v *visit) arrive(ctx context.Context) (line, error) {
	s := v.c.shop
	if v.letter {
		return startLetter(s.hooks[v.p.tongue], v.p, v.keys), nil
	}
	l, browser, err := startChat(ctx, s.door, s.sites[v.p.tongue], v.p, v.keys)
	if err != nil {
		return nil, err
	}
	v.p.browser = browser
	return l, nil
}

// talk is the script: ask, wait, ask again, thank, go. Who waits too long goes, and some of them say so.
func (v *visit) talk(ctx context.Context, l line) error {
	t := v.p.tongue
	matter := &t.topics[v.r.IntN(len(t.topics))]
	order := 20_000 + v.r.IntN(70_000)
	if err := v.begin(ctx, l, matter, order); err != nil {
		return err
	}
	answered := false
	for turn := 0; ; turn++ {
		patience := v.human(50, 180)
		if answered {
			patience = v.human(90, 240)
		}
		if !v.await(ctx, l, patience) {
			return v.giveUp(ctx, l, answered)
		}
		if !answered {
			answered = true
			v.c.tally.add(func(t *tally) { t.answered++ })
		}
		if err := v.pause(ctx, 2, 6); err != nil {
			return err
		}
		_ = l.read(ctx) // a courtesy
		if err := v.pause(ctx, 2, 8); err != nil {
			return err
		}
		if turn == 0 && v.r.IntN(4) > 0 {
			if err := l.say(ctx, about(pick(v.r, matter.follow), order)); err != nil {
				return err
			}
			continue
		}
		if err := l.say(ctx, pick(v.r, t.thanks)); err != nil {
			return err
		}
		v.await(ctx, l, v.human(10, 30)) // a last word is polite to wait for
		return nil
	}
}

// begin says what it is about, in one breath or in several.
func (v *visit) begin(ctx context.Context, l line, matter *topic, order int) error {
	t := v.p.tongue
	if err := v.pause(ctx, 1, 5); err != nil {
		return err
	}
	switch {
	case v.second:
		if err := l.say(ctx, pick(v.r, t.other)); err != nil {
			return err
		}
	case v.again && v.r.IntN(2) == 0:
		if err := l.say(ctx, pick(v.r, t.back)); err != nil {
			return err
		}
	}
	if err := l.say(ctx, about(pick(v.r, matter.open), order)); err != nil {
		return err
	}
	if v.r.IntN(5) < 2 {
		if err := v.pause(ctx, 3, 10); err != nil {
			return err
		}
		if err := l.say(ctx, about(pick(v.r, matter.more), order)); err != nil {
			return err
		}
	}
	if matter.picture == "" {
		return nil
	}
	if err := v.pause(ctx, 4, 12); err != nil {
		return err
	}
	file, err := picture(v.r)
	if err != nil {
		return err
	}
	return l.show(ctx, matter.picture, file)
}

func (v *visit) pause(ctx context.Context, from, to int) error { return sleep(ctx, v.human(from, to)) }

// await waits for the shop's word; what comes right behind it belongs to it.
func (v *visit) await(ctx context.Context, l line, patience time.Duration) bool {
	t := time.NewTimer(patience)
	defer t.Stop()
	came := false
	for {
		select {
		case <-ctx.Done():
			return came
		case <-t.C:
			return came
		case <-l.heard():
			came = true
			t.Reset(v.human(2, 4))
		}
	}
}

func (v *visit) giveUp(ctx context.Context, l line, answered bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if answered {
		return l.leave(ctx, false)
	}
	v.c.tally.add(func(t *tally) { t.left++ })
	if v.r.IntN(3) == 0 {
		if err := l.say(ctx, pick(v.r, v.p.tongue.tired)); err != nil {
			return err
		}
	}
	return l.leave(ctx, v.r.IntN(5) < 3)
}
