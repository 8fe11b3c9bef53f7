package demo

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// begin serves an interaction, unless he does so already.
func (k *clerk) begin(ctx context.Context, interaction string) {
	words := make(chan string, 16)
	k.mu.Lock()
	_, there := k.tasks[interaction]
	if !there {
		k.tasks[interaction] = words
	}
	k.mu.Unlock()
	if there {
		return
	}
	k.work.Go(func() {
		defer func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			delete(k.tasks, interaction)
		}()
		k.tried(ctx, k.serve(ctx, interaction, words))
	})
}

// contact is what he reads before he answers.
type contact struct {
	Conversation struct{ ID string }
	Messages     struct {
		Nodes []struct{ Direction, Text string }
	}
}

// serve answers until the customer has thanked, gone or been silent for long, and resolves the matter.
func (k *clerk) serve(ctx context.Context, interaction string, words <-chan string) error {
	var out struct{ Interaction contact }
	err := k.api.ask(ctx, `query($id: ID!) { interaction(id: $id) { conversation { id } messages(last: 6) { nodes { direction text } } } }`, vars{"id": interaction}, &out)
	if err != nil {
		return err
	}
	said, first := []string{}, true
	for _, m := range out.Interaction.Messages.Nodes {
		if m.Direction == "INBOUND" {
			said = append(said, m.Text)
		} else {
			said, first = nil, false
		}
	}
	for turn := 0; turn < 8; turn++ {
		if len(said) > 0 {
			over, err := k.answer(ctx, interaction, said, first)
			if err != nil || over {
				return k.close(ctx, out.Interaction.Conversation.ID, err)
			}
			first = false
		}
		if said = k.listen(ctx, words, 70, 150); len(said) == 0 {
			break
		}
	}
	return k.close(ctx, out.Interaction.Conversation.ID, ctx.Err())
}

// listen waits for the customer, and for what he adds.
func (k *clerk) listen(ctx context.Context, words <-chan string, from, to int) []string {
	k.mu.Lock()
	t := time.NewTimer(human(k.r, k.c.cfg.Pace, from, to))
	k.mu.Unlock()
	defer t.Stop()
	var said []string
	for {
		select {
		case <-ctx.Done():
			return said
		case <-t.C:
			return said
		case s := <-words:
			said = append(said, s)
			t.Reset(time.Duration(float64(2*time.Second) / k.c.cfg.Pace))
		}
	}
}

// answer says what fits; over: the customer has what he wanted.
func (k *clerk) answer(ctx context.Context, interaction string, said []string, first bool) (over bool, err error) {
	text, over := k.words(said)
	if first {
		name, _, _ := strings.Cut(k.login.name, " ")
		if err := k.pause(ctx, 2, 5); err != nil {
			return false, err
		}
		if err := k.send(ctx, interaction, fmt.Sprintf(k.pick(k.login.tongue.hello), name)); err != nil {
			return false, err
		}
	}
	if err := k.pause(ctx, 3, 9); err != nil { // he reads, thinks and types
		return false, err
	}
	return over, k.send(ctx, interaction, text)
}

// words finds an answer to the newest line that he understands. A stranger to the corpus gets a friendly delay.
func (k *clerk) words(said []string) (text string, over bool) {
	t := k.login.tongue
	for n := len(said) - 1; n >= 0; n-- {
		m, ok := k.known[shape(said[n])]
		switch {
		case !ok:
			continue
		case m.stage == thanked:
			return k.pick(t.closing), true
		case m.stage == followed:
			return k.pick(m.topic.second), false
		default:
			return k.first(m.topic, number(said)), false
		}
	}
	return k.pick(t.unsure), false
}

// first is the first answer to a matter. Without an order's number there is one that needs none.
func (k *clerk) first(p *topic, order int) string {
	text := k.pick(p.answers)
	for n := 0; order == 0 && strings.Contains(text, "{order}") && n < len(p.answers); n++ {
		text = p.answers[n]
	}
	return about(text, order)
}

// number is the order's number that the customer gave; 0 if he gave none.
func number(said []string) int {
	order := 0
	for _, s := range said {
		n, digits := 0, 0
		for _, c := range s + " " {
			if c >= '0' && c <= '9' {
				n, digits = n%100_000*10+int(c-'0'), digits+1
				continue
			}
			if digits == 5 {
				order = n
			}
			n, digits = 0, 0
		}
	}
	return order
}

func (k *clerk) send(ctx context.Context, interaction, text string) error {
	return k.api.do(ctx, `mutation($id: ID!, $t: String!, $k: Key!) { made: messageSend(interactionId: $id, input: { text: $t }, idempotencyKey: $k) { userErrors { code message retryable } } }`,
		vars{"id": interaction, "t": text, "k": k.key()}, nil)
}

// close resolves the matter, also after a customer who went in the middle; not when the demo ends.
func (k *clerk) close(ctx context.Context, conversation string, err error) error {
	if err != nil && !quiet(err) || ctx.Err() != nil {
		return err
	}
	if err := k.pause(ctx, 2, 6); err != nil {
		return err
	}
	return k.api.do(ctx, `mutation($id: ID!, $o: String!, $k: Key!) { made: conversationResolve(id: $id, input: { outcome: $o }, idempotencyKey: $k) { userErrors { code message retryable } } }`,
		vars{"id": conversation, "o": k.login.tongue.solved, "k": k.key()}, nil)
}
