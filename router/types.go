package router

import (
	"bytes"
	"time"
)

// ID names a row: an item, an agent, a queue, a conversation or a workspace. The zero ID names nothing.
type ID [16]byte

// IsZero reports whether the id names nothing.
func (i ID) IsZero() bool { return i == ID{} }

// Compare orders ids byte by byte; it breaks ties so that equal floors give equal decisions.
func (i ID) Compare(o ID) int { return bytes.Compare(i[:], o[:]) }

// Priority steps of Item.Priority. Any other step works as well; these are the ones people can choose.
const (
	PriorityLow = iota
	PriorityNormal
	PriorityHigh
	PriorityUrgent
)

// Item is an interaction that waits to be placed.
type Item struct {
	ID           ID
	Workspace    ID
	Conversation ID
	Queue        ID
	// Kind is the channel kind, for example "email" or "task".
	Kind string
	// Live tells an interaction with somebody waiting at the other end from an asynchronous one.
	Live bool
	// QueuedAt is where the age starts. It is kept through every return to the queue.
	QueuedAt time.Time
	// Priority moves the item forward by Weight for each step.
	Priority int
	// Weight is how much waiting time one step of priority is worth in this queue.
	Weight time.Duration
	// Cost is what the item costs an agent whose profile does not price the kind; zero counts as 1.
	Cost int
	// CostFreeFor is the agent who already serves this conversation. For him the item costs no units and
	// counts towards no limit, unless the kind blocks. Leave it zero for kinds that always count, such as voice.
	CostFreeFor ID
	// Refused holds the agents who declined or missed the item since every able agent last had his turn.
	Refused []ID
	// Prefer is the agent who gets the item while he is reachable and PreferUntil has not passed.
	Prefer      ID
	PreferUntil time.Time
	// OfferFor is how long an offer of this item stays open.
	OfferFor time.Duration
	// Needs is what the queue asks of whoever serves it; an agent who lacks one of it is left out.
	Needs []Need
	// Version is the row's version; a decision is about this version and no other.
	Version int
}

// Need is a skill and the lowest level that does.
type Need struct {
	Skill ID
	Level int
}

// Limit is what an agent's profile says about one kind.
type Limit struct {
	// UnitsEach is what one interaction of the kind costs; zero leaves it to Item.Cost.
	UnitsEach int
	// MaxAtOnce bounds the interactions of the kind held at once; zero means no bound of its own.
	MaxAtOnce int
	// Blocks admits the kind only to an agent with nothing in use, and admits nothing beside it.
	Blocks bool
}

// Agent is an agent as the router sees him: where he may serve, and how much more he can take.
type Agent struct {
	ID        ID
	Workspace ID
	// Queues are the queues he is a member of.
	Queues []ID
	// Skills are the levels of the skills that he has.
	Skills map[ID]int
	// Available is his own status: he wants work.
	Available bool
	// Live tells for each kind whether he can be reached for it now; the entry "" answers for every kind
	// that has none of its own.
	Live map[string]bool
	// Units is the size of his profile and Used the part in use, open offers included.
	Units int
	Used  int
	// UsedBy counts the interactions in use by kind, open offers included, those free of cost not.
	UsedBy map[string]int
	// Limits is his profile by kind.
	Limits map[string]Limit
	// Blocker is the kind that blocks him, or empty.
	Blocker string
	// Pending counts his open offers. It is shown with a decision and decides nothing: Used holds them.
	Pending int
	// IdleSince is when he was last given something, or became available if that is later.
	IdleSince time.Time
	// LoadVersion grows with every change of Used, UsedBy, Blocker, Pending or IdleSince.
	LoadVersion int
}

// Decision proposes an item to an agent. It is true only when Floor.Commit says so.
type Decision struct {
	Item ID
	// Version is the version of the item that was decided about.
	Version   int
	Workspace ID
	Queue     ID
	Agent     ID
	Kind      string
	// Cost is the number of units to reserve.
	Cost int
	// Free says that the item counts towards none of the agent's limits; Cost is zero then.
	Free bool
	// Blocks says that the kind blocks this agent.
	Blocks bool
	// NewRound says that every able agent has refused the item, so its refusals are to be cleared.
	NewRound bool
	At       time.Time
	// Expires is how long the offer stays open.
	Expires time.Duration
	// Reasons are the machine keys Reason…, the deciding one first. The slice is shared: do not change it.
	Reasons []string
	// Candidates are the best five who could have had the item, the chosen one first.
	Candidates []Candidate
	// Excluded counts the agents of the workspace who could not have it, by cause.
	Excluded map[Exclusion]int
	// Epoch is the lease's epoch under which the decision was made.
	Epoch int64
	// Took is the computing time of the decision: its share of its batch.
	Took time.Duration
}

// Result is what became of a decision.
type Result int

// The results of a commit. The zero Result is none of them, so a forgotten one is never a success.
const (
	// Committed: the offer exists.
	Committed Result = iota + 1
	// Taken: the item no longer waits, or not in this version.
	Taken
	// AgentBusy: the agent's capacity, status or membership no longer allows it.
	AgentBusy
	// Lost: somebody else leads by now.
	Lost
)

// Outcome answers one decision.
type Outcome struct {
	Item   ID
	Result Result
	// LoadVersion is the version of the agent's load row that contains this reservation, when Committed.
	LoadVersion int
}
