package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// person is one of the population. Who he is follows from the seed and his number; the rest is what he remembers.
type person struct {
	number  int
	seed    uint64
	tongue  *tongue
	name    string
	known   bool // the shop's own back end knows him: he has a customer's id there
	writes  bool // he prefers the bridge to the web page
	browser string
	here    bool
	came    bool
}

func newPerson(seed uint64, number int) *person {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	t := tongues[r.IntN(len(tongues))]
	p := &person{number: number, seed: seed, tongue: t, known: r.IntN(10) < 4, writes: r.IntN(4) == 0}
	first, last := pick(r, t.first), pick(r, t.last)
	p.name = first + t.space + last
	if t.space == "" {
		p.name = last + first
	}
	return p
}

// customerID is the person's id in the shop's own system: the same by the web page and by the bridge.
func (p *person) customerID() string { return fmt.Sprintf("C-%d-%d", p.seed, p.number) }

// thread is the person's id on the platform behind the bridge.
func (p *person) thread() string { return fmt.Sprintf("u-%d-%d", p.seed, p.number) }

// comeback is a visit to come.
type comeback struct {
	at     time.Time
	who    *person
	letter bool // by the other channel, about the same thing
}

// crowd is all people, and the clock of their coming.
type crowd struct {
	cfg   Config
	shop  *shop
	tally *tally

	mu       sync.Mutex
	random   *rand.Rand
	people   []*person
	later    []comeback
	present  int
	arrivals int
}

func newCrowd(cfg Config, s *shop, t *tally) *crowd {
	return &crowd{cfg: cfg, shop: s, tally: t, random: rand.New(rand.NewPCG(s.book.Seed, s.book.Starts<<32))}
}

// run lets people come until ctx ends, and waits for the last to go.
func (c *crowd) run(ctx context.Context) {
	var visits sync.WaitGroup
	defer visits.Wait()
	next := time.Now().Add(c.gap())
	for {
		at, who := c.due(next)
		if sleep(ctx, time.Until(at)) != nil {
			return
		}
		if who == nil {
			next = time.Now().Add(c.gap())
			who = c.somebody()
		}
		if v, ok := c.admit(who); ok {
			visits.Go(func() { v.run(ctx) })
		}
	}
}

// gap is the time to the next arrival: arrivals are independent of each other.
func (c *crowd) gap() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.Arrivals <= 0 {
		return time.Hour
	}
	return min(time.Duration(c.random.ExpFloat64()/c.cfg.Arrivals*float64(time.Minute)), time.Hour)
}

// due is what comes first: the next arrival, or somebody who said he would come back.
func (c *crowd) due(next time.Time) (time.Time, *comeback) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := -1
	for n, l := range c.later {
		if l.at.Before(next) && (first < 0 || l.at.Before(c.later[first].at)) {
			first = n
		}
	}
	if first < 0 {
		return next, nil
	}
	b := c.later[first]
	c.later = append(c.later[:first], c.later[first+1:]...)
	return b.at, &b
}

// somebody arrives: mostly a new person, until the population is full.
func (c *crowd) somebody() *comeback {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.people) >= maxPeople || len(c.people) > 10 && c.random.IntN(4) == 0 {
		p := c.people[c.random.IntN(len(c.people))]
		return &comeback{who: p, letter: p.writes}
	}
	p := newPerson(c.shop.book.Seed, len(c.people))
	c.people = append(c.people, p)
	return &comeback{who: p, letter: p.writes}
}

// admit makes a visit of an arrival, unless the house is full or he is here already.
func (c *crowd) admit(b *comeback) (*visit, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.who.here || c.present >= maxPresent {
		return nil, false
	}
	b.who.here = true
	c.present++
	c.arrivals++
	c.tally.add(func(t *tally) { t.arrived++; t.present++ })
	return &visit{
		c: c, p: b.who, letter: b.letter, again: b.who.came, second: b.letter && !b.who.writes,
		r:    rand.New(rand.NewPCG(c.shop.book.Seed, c.shop.book.Starts<<32|uint64(c.arrivals))),
		keys: keys{prefix: fmt.Sprintf("%s/%d/%d", c.shop.book.Nonce, c.shop.book.Starts, c.arrivals)},
	}, true
}

// gone ends a visit; perhaps he comes back, or writes by the other channel.
func (c *crowd) gone(v *visit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.p.here, v.p.came = false, true
	c.present--
	c.tally.add(func(t *tally) { t.present-- })
	if len(c.later) >= maxPresent || v.r.IntN(3) > 0 {
		return
	}
	back := comeback{at: time.Now().Add(v.human(40, 240)), who: v.p, letter: v.p.writes}
	if v.p.known && !v.letter { // he is the same customer there, by his id
		back.letter = v.r.IntN(2) == 0
	}
	c.later = append(c.later, back)
}
