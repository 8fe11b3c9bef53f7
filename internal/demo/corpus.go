package demo

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode"
)

// topic is one matter that people write about. `{order}` stands for an order's number.
type topic struct {
	open    []string // how it begins
	more    []string // what is added before an answer comes
	answers []string // what an agent says first
	follow  []string // what is asked then
	second  []string // what an agent says then
	picture string   // what is said with a picture; empty: none belongs to it
}

// tongue is one side of the shop: a language with its people, its words and the names of what serves it.
type tongue struct {
	locale                         string
	team, queue, site, bridge      string
	greeting                       string
	human, mail                    string // who may watch as an agent
	clerks                         []string
	first, last                    []string // names of customers; last names come first where the language has it so
	space                          string   // between the two
	topics                         []topic
	hello, thanks, back, other     []string
	tired, closing, unsure, heldUp []string
	busy, solved                   string // an agent's reasons
}

var tongues = []*tongue{english, chinese}

// pick is one of the texts.
func pick(r *rand.Rand, texts []string) string { return texts[r.IntN(len(texts))] }

// about puts an order's number into a text.
func about(text string, order int) string {
	return strings.ReplaceAll(text, "{order}", strconv.Itoa(order))
}

// shape is a text without its numbers, by which an agent knows what it is about.
func shape(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) {
			return -1
		}
		return c
	}, strings.ReplaceAll(text, "{order}", ""))
}

// stage is how far a matter is.
type stage int

const (
	opened stage = iota
	followed
	thanked
)

// meaning is what a customer's line is about.
type meaning struct {
	topic *topic
	stage stage
}

// meanings is the corpus by the shape of its lines: how a simulated agent understands a simulated customer.
func (t *tongue) meanings() map[string]meaning {
	known := map[string]meaning{}
	for n := range t.topics {
		p := &t.topics[n]
		for _, s := range p.open {
			known[shape(s)] = meaning{p, opened}
		}
		for _, s := range append([]string{p.picture}, p.more...) {
			known[shape(s)] = meaning{p, opened}
		}
		for _, s := range p.follow {
			known[shape(s)] = meaning{p, followed}
		}
	}
	delete(known, "")
	for _, s := range t.thanks {
		known[shape(s)] = meaning{nil, thanked}
	}
	return known
}
