package ledger

import (
	"context"
	"fmt"

	"tributary/test/rig"
)

// What the API shows, cut to what is checked.
type (
	// Message is one in a timeline.
	Message struct {
		ID, Interaction, Direction, Delivery, ExternalID, Text, Key string
		Number, Version                                             int
	}
	// Interaction is a contact.
	Interaction struct {
		ID, State, Agent, Offer, Offered string
	}
	// Event is one of the log.
	Event struct {
		ID, Cursor, Type, Subject, Interaction, Agent string // the agent is an offer's
		Version                                       int
	}
)

// Picture is all that the API shows of the workspace.
type Picture struct {
	Interactions map[string]Interaction
	Nested       map[string]bool // interactions met on the way through the conversations
	Messages     []Message
	Pool         map[string]bool
	Unsettled    map[string]string // states by message id
	Events       []Event
	Resets       []string
	Dead         []string
}

// Look reads everything by GraphQL. An error means: not read, nothing is proved.
func Look(ctx context.Context, l *rig.Login) (*Picture, error) {
	p := &Picture{Interactions: map[string]Interaction{}, Nested: map[string]bool{}, Pool: map[string]bool{}, Unsettled: map[string]string{}}
	for _, read := range []func(context.Context, *rig.Login) error{p.readInteractions, p.readNested, p.readMessages, p.readPool, p.readUnsettled, p.readEvents, p.readDead} {
		if err := read(ctx, l); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// pages follows a list to its end. The query takes $a; at is the path to the connection.
func pages(ctx context.Context, l *rig.Login, query string, vars rig.M, at ...any) ([]rig.Value, error) {
	var all []rig.Value
	if vars == nil {
		vars = rig.M{}
	}
	for {
		v, err := l.Ask(ctx, query, vars)
		if err != nil {
			return nil, fmt.Errorf("read %v: %w", at, err)
		}
		list := v.At(at...)
		_, nodes := list.At("nodes").V.([]any)
		more, known := list.At("pageInfo", "hasNextPage").V.(bool)
		if !nodes || !known {
			return nil, fmt.Errorf("read %v: no list: %s", at, v.JSON())
		}
		all = append(all, list.At("nodes").List()...)
		if !more {
			return all, nil
		}
		end := list.At("pageInfo", "endCursor").String()
		if end == "" || end == vars["a"] {
			return nil, fmt.Errorf("read %v: the list does not go on", at)
		}
		vars["a"] = end
	}
}

const tail = ` pageInfo{hasNextPage endCursor}}`

func (p *Picture) readInteractions(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){interactions(first:100,after:$a){nodes{id state agent{id} openOffer{id state agent{id}}}`+tail+`}`, nil, "interactions")
	if err != nil {
		return err
	}
	for _, v := range rows {
		i := Interaction{
			ID: v.At("id").String(), State: v.At("state").String(), Agent: v.At("agent", "id").String(),
			Offer: v.At("openOffer", "state").String(), Offered: v.At("openOffer", "agent", "id").String(),
		}
		if _, twice := p.Interactions[i.ID]; twice {
			return fmt.Errorf("interaction %s is listed twice", i.ID)
		}
		p.Interactions[i.ID] = i
	}
	return nil
}

// readNested goes the other way to the interactions; both ways have to show the same.
func (p *Picture) readNested(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){conversations(first:40,after:$a,orderBy:{field:OPENED_AT,direction:ASC}){nodes{id interactions(first:20){nodes{id} pageInfo{hasNextPage}}}`+tail+`}`, nil, "conversations")
	if err != nil {
		return err
	}
	for _, c := range rows {
		if c.At("interactions", "pageInfo", "hasNextPage").Bool() {
			return fmt.Errorf("conversation %s has more interactions than were read", c.At("id").String())
		}
		for _, i := range c.At("interactions", "nodes").List() {
			p.Nested[i.At("id").String()] = true
		}
	}
	return nil
}

func (p *Picture) readMessages(ctx context.Context, l *rig.Login) error {
	for id := range p.Interactions {
		rows, err := pages(ctx, l, `query($i:ID!,$a:Cursor){interaction(id:$i){messages(first:100,after:$a){nodes{id version number direction delivery externalId text causedByKey}`+tail+`}}`,
			rig.M{"i": id}, "interaction", "messages")
		if err != nil {
			return err
		}
		for _, v := range rows {
			p.Messages = append(p.Messages, Message{
				ID: v.At("id").String(), Interaction: id, Direction: v.At("direction").String(),
				Delivery: v.At("delivery").String(), ExternalID: v.At("externalId").String(), Text: v.At("text").String(),
				Key: v.At("causedByKey").String(), Number: v.At("number").Int(), Version: v.At("version").Int(),
			})
		}
	}
	return nil
}

func (p *Picture) readPool(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){pool(first:100,after:$a){nodes{id}`+tail+`}`, nil, "pool")
	for _, v := range rows {
		p.Pool[v.At("id").String()] = true
	}
	return err
}

func (p *Picture) readUnsettled(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){unsettledMessages(states:[QUEUED,SENDING,UNCERTAIN,FAILED],first:100,after:$a){nodes{id delivery}`+tail+`}`, nil, "unsettledMessages")
	for _, v := range rows {
		p.Unsettled[v.At("id").String()] = v.At("delivery").String()
	}
	return err
}

func (p *Picture) readDead(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){deadLetters(states:[OPEN],first:100,after:$a){nodes{id kind error attempts}`+tail+`}`, nil, "deadLetters")
	for _, v := range rows {
		p.Dead = append(p.Dead, v.JSON())
	}
	return err
}

// readEvents walks the whole log by the pull twin.
func (p *Picture) readEvents(ctx context.Context, l *rig.Login) (err error) {
	p.Events, p.Resets, err = Twin(ctx, l, "")
	return err
}

// Twin reads the log after a place (empty: from its beginning) by the query: what every stream is measured by.
func Twin(ctx context.Context, l *rig.Login, after string) (events []Event, resets []string, err error) {
	for {
		frame, err := pull(ctx, l, after, rig.M{"scope": "ALL"})
		if err != nil {
			return nil, nil, fmt.Errorf("read events: %w", err)
		}
		if why := frame.At("resetReason"); !why.Nil() {
			resets = append(resets, why.String())
		}
		for _, e := range frame.At("events").List() {
			events = append(events, EventOf(e))
		}
		if frame.At("caughtUp").Bool() {
			return events, resets, nil
		}
		if after == frame.At("cursor").String() {
			return nil, nil, fmt.Errorf("read events: the cursor %s does not go on", after)
		}
		after = frame.At("cursor").String()
	}
}

// EventOf reads an event.
func EventOf(e rig.Value) Event {
	return Event{
		ID: e.At("id").String(), Cursor: e.At("cursor").String(), Type: e.At("type").String(), Subject: e.At("subjectId").String(),
		Interaction: e.At("interactionId").String(), Version: e.At("subjectVersion").Int(),
		Agent: e.At("subject", "agent", "id").String(),
	}
}
