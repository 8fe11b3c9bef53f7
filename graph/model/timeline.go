// Package model holds the few GraphQL types that are no rows: payloads (generated) and the dresses of a timeline row,
// because a Go type can be only one GraphQL object.
package model

import "tributary/ent"

// TimelineItem is what a row of the timeline looks like in the contract: one GraphQL type per sort of row.
type TimelineItem interface {
	ent.Noder
	IsTimelineItem()
}

type (
	// MessageItem is a row of type MESSAGE.
	MessageItem struct{ *ent.TimelineItem }
	// NoteItem is a row of type NOTE.
	NoteItem struct{ *ent.TimelineItem }
	// AssignmentItem is a row of type ASSIGNMENT.
	AssignmentItem struct{ *ent.TimelineItem }
	// ChangeItem is a row of type CHANGE.
	ChangeItem struct{ *ent.TimelineItem }
)

// IsTimelineItem marks MessageItem.
func (MessageItem) IsTimelineItem() {}

// IsTimelineItem marks NoteItem.
func (NoteItem) IsTimelineItem() {}

// IsTimelineItem marks AssignmentItem.
func (AssignmentItem) IsTimelineItem() {}

// IsTimelineItem marks ChangeItem.
func (ChangeItem) IsTimelineItem() {}

// Item dresses a row.
func Item(t *ent.TimelineItem) TimelineItem {
	switch t.Type {
	case "MESSAGE":
		return MessageItem{t}
	case "NOTE":
		return NoteItem{t}
	case "ASSIGNMENT":
		return AssignmentItem{t}
	default:
		return ChangeItem{t}
	}
}
