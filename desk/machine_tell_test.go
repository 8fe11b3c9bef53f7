package desk_test

import (
	"fmt"
	"regexp"
	"strings"

	"pgregory.net/rapid"
)

// A failure is known by its rule alone, or rapid would take a smaller sequence for another failure and not shrink. What is
// told beside it says the same in every run of a seed: ids and times stand in it by name.

var unstable = regexp.MustCompile(`\b[a-z]{3}_[0-9a-z]{26}\b|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.0-9]* \+0000 UTC`)

func (m *machine) plain(format string, args ...any) string {
	return unstable.ReplaceAllStringFunc(fmt.Sprintf(format, args...), func(s string) string {
		if name, there := m.names[s]; there {
			return name
		}
		if strings.Contains(s, "_") {
			return s[:3]
		}
		return "a time"
	})
}

// wrong fails the sequence by the rule that is broken; the particulars are told beside it. The first one counts.
func (m *machine) wrong(rule string, args ...any) {
	m.told(rule, args...)
	if !m.rt.Failed() {
		m.rt.Errorf("%s", rule)
	}
}

func (m *machine) fatal(rule string, args ...any) {
	m.told(rule, args...)
	m.rt.Fatalf("%s", rule)
}

// christen names what is there, in the order in which it came.
func (m *machine) christen(r *rows) {
	m.names = map[string]string{}
	for n, i := range r.contacts {
		m.names[i.ID.String()] = fmt.Sprintf("contact %d", n)
	}
	for n, c := range r.matters {
		m.names[c.ID.String()] = fmt.Sprintf("matter %d", n)
	}
	for n, o := range r.offers {
		m.names[o.ID.String()] = fmt.Sprintf("offer %d", n)
	}
	for n, x := range r.messages {
		m.names[x.ID.String()] = fmt.Sprintf("message %d", n)
	}
	for _, p := range m.agents {
		m.names[p.ID.String()] = p.name
	}
}

// told writes down what is tried, for whoever reads a failing sequence.
func (m *machine) told(format string, args ...any) { m.rt.Log(m.plain(format, args...)) }

// oneOf draws a member by its place: what rapid prints of a draw is the number.
func oneOf[T any](rt *rapid.T, list []T, label string) T {
	return list[rapid.IntRange(0, len(list)-1).Draw(rt, label)]
}
