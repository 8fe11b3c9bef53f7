package kill_test

import (
	"context"
	"fmt"

	"tributary/test/rig"
)

// message, interaction, event: what the API shows, cut to what is checked.
type (
	message struct {
		id, interaction, direction, delivery, externalID, text, key string
		number, version                                             int
	}
	interaction struct {
		id, state, agent, offer, offered string
	}
	event struct {
		id, cursor, typ, subject string
		version                  int
	}
)

// picture is all that the API shows of the workspace.
type picture struct {
	interactions map[string]interaction
	nested       map[string]bool // interactions met on the way through the conversations
	messages     []message
	pool         map[string]bool
	unsettled    map[string]string // states by message id
	events       []event
	resets       []string
	dead         []string
}

// look reads everything by GraphQL. An error means: not read, nothing is proved.
func look(ctx context.Context, l *rig.Login) (*picture, error) {
	p := &picture{interactions: map[string]interaction{}, nested: map[string]bool{}, pool: map[string]bool{}, unsettled: map[string]string{}}
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

func (p *picture) readInteractions(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){interactions(first:100,after:$a){nodes{id state agent{id} openOffer{id state agent{id}}}`+tail+`}`, nil, "interactions")
	if err != nil {
		return err
	}
	for _, v := range rows {
		i := interaction{
			id: v.At("id").String(), state: v.At("state").String(), agent: v.At("agent", "id").String(),
			offer: v.At("openOffer", "state").String(), offered: v.At("openOffer", "agent", "id").String(),
		}
		if _, twice := p.interactions[i.id]; twice {
			return fmt.Errorf("interaction %s is listed twice", i.id)
		}
		p.interactions[i.id] = i
	}
	return nil
}

// readNested goes the other way to the interactions; both ways have to show the same.
func (p *picture) readNested(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){conversations(first:40,after:$a,orderBy:{field:OPENED_AT,direction:ASC}){nodes{id interactions(first:20){nodes{id} pageInfo{hasNextPage}}}`+tail+`}`, nil, "conversations")
	if err != nil {
		return err
	}
	for _, c := range rows {
		if c.At("interactions", "pageInfo", "hasNextPage").Bool() {
			return fmt.Errorf("conversation %s has more interactions than were read", c.At("id").String())
		}
		for _, i := range c.At("interactions", "nodes").List() {
			p.nested[i.At("id").String()] = true
		}
	}
	return nil
}

func (p *picture) readMessages(ctx context.Context, l *rig.Login) error {
	for id := range p.interactions {
		rows, err := pages(ctx, l, `query($i:ID!,$a:Cursor){interaction(id:$i){messages(first:100,after:$a){nodes{id version number direction delivery externalId text causedByKey}`+tail+`}}`,
			rig.M{"i": id}, "interaction", "messages")
		if err != nil {
			return err
		}
		for _, v := range rows {
			p.messages = append(p.messages, message{
				id: v.At("id").String(), interaction: id, direction: v.At("direction").String(),
				delivery: v.At("delivery").String(), externalID: v.At("externalId").String(), text: v.At("text").String(),
				key: v.At("causedByKey").String(), number: v.At("number").Int(), version: v.At("version").Int(),
			})
		}
	}
	return nil
}

func (p *picture) readPool(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){pool(first:100,after:$a){nodes{id}`+tail+`}`, nil, "pool")
	for _, v := range rows {
		p.pool[v.At("id").String()] = true
	}
	return err
}

func (p *picture) readUnsettled(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){unsettledMessages(states:[QUEUED,SENDING,UNCERTAIN,FAILED],first:100,after:$a){nodes{id delivery}`+tail+`}`, nil, "unsettledMessages")
	for _, v := range rows {
		p.unsettled[v.At("id").String()] = v.At("delivery").String()
	}
	return err
}

func (p *picture) readDead(ctx context.Context, l *rig.Login) error {
	rows, err := pages(ctx, l, `query($a:Cursor){deadLetters(states:[OPEN],first:100,after:$a){nodes{id kind error attempts}`+tail+`}`, nil, "deadLetters")
	for _, v := range rows {
		p.dead = append(p.dead, v.JSON())
	}
	return err
}

// readEvents walks the whole log by the pull twin.
func (p *picture) readEvents(ctx context.Context, l *rig.Login) error {
	for cursor := ""; ; {
		frame, err := pull(ctx, l, cursor, rig.M{"scope": "ALL"})
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if why := frame.At("resetReason"); !why.Nil() {
			p.resets = append(p.resets, why.String())
		}
		for _, e := range frame.At("events").List() {
			p.events = append(p.events, event{e.At("id").String(), e.At("cursor").String(), e.At("type").String(), e.At("subjectId").String(), e.At("subjectVersion").Int()})
		}
		if frame.At("caughtUp").Bool() {
			return nil
		}
		if cursor == frame.At("cursor").String() {
			return fmt.Errorf("read events: the cursor %s does not go on", cursor)
		}
		cursor = frame.At("cursor").String()
	}
}
