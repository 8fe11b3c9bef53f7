// Package model holds the few GraphQL types that are no rows: payloads (generated) and the dresses of a timeline row,
// because a Go type can be only one GraphQL object.
package model

import (
	"tributary/ent"
	"tributary/internal/page"
)

// TimelineItem is what a row of the timeline looks like in the contract: one GraphQL type per sort of row.
type TimelineItem interface {
	ent.Noder
	IsTimelineItem()
}

type (
	// Row is what all of them wear.
	Row struct{ *ent.TimelineItem }
	// MessageItem is a row of type MESSAGE.
	MessageItem struct{ Row }
	// NoteItem is a row of type NOTE.
	NoteItem struct{ Row }
	// AssignmentItem is a row of type ASSIGNMENT.
	AssignmentItem struct{ Row }
	// ChangeItem is a row of type CHANGE.
	ChangeItem struct{ Row }
	// CallItem is a row of type CALL.
	CallItem struct{ Row }
)

// CustomerRole is the role in which the customer whose timeline this is takes part; nil in other lists.
func (r Row) CustomerRole() *string {
	if role := page.RoleOf(r.TimelineItem); role != "" {
		return &role
	}
	return nil
}

// IsTimelineItem marks MessageItem.
func (MessageItem) IsTimelineItem() {}

// IsTimelineItem marks NoteItem.
func (NoteItem) IsTimelineItem() {}

// IsTimelineItem marks AssignmentItem.
func (AssignmentItem) IsTimelineItem() {}

// IsTimelineItem marks ChangeItem.
func (ChangeItem) IsTimelineItem() {}

// IsTimelineItem marks CallItem.
func (CallItem) IsTimelineItem() {}

// Item dresses a row.
func Item(t *ent.TimelineItem) TimelineItem {
	switch t.Type {
	case "MESSAGE":
		return MessageItem{Row{t}}
	case "NOTE":
		return NoteItem{Row{t}}
	case "ASSIGNMENT":
		return AssignmentItem{Row{t}}
	case "CALL":
		return CallItem{Row{t}}
	default:
		return ChangeItem{Row{t}}
	}
}
