package graph

import (
	"maps"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/call"
	"tributary/graph/model"
)

// currentCall is the call that goes on, else the newest; nil if there is none.
func currentCall(list []*ent.Call, err error) (*ent.Call, error) {
	var out *ent.Call
	for _, c := range list {
		open := c.State != call.StateENDED
		if out == nil || open || out.State == call.StateENDED && c.CreatedAt.After(out.CreatedAt) {
			out = c
		}
		if open {
			break
		}
	}
	return out, err
}

// firstOf is the first time that is known; nil if none is.
func firstOf(times ...*time.Time) *time.Time {
	for _, t := range times {
		if t != nil {
			return t
		}
	}
	return nil
}

// talked is how long customer and agents spoke in a call that is over, in seconds without its holds; nil if they did not.
func talked(c *ent.Call) *int {
	n := seconds(c.AnsweredAt, c.EndedAt)
	if n != nil {
		*n = max(*n-c.HeldTotal, 0)
	}
	return n
}

// attributes are the pairs of a map, by key.
func attributes(m map[string]string) []*model.Attribute {
	out := make([]*model.Attribute, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, &model.Attribute{Key: k, Value: m[k]})
	}
	return out
}
