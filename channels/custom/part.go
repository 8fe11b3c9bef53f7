package custom

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"

	"tributary/channels"
	"tributary/channels/internal/address"
	"tributary/internal/clean"
)

const maxURL = 2048 // bytes

// part is the wire form of a part, in both directions.
type part struct {
	Type        string   `json:"type"`
	Text        string   `json:"text,omitempty"`
	URL         string   `json:"url,omitempty"`
	Name        string   `json:"name,omitempty"`
	ContentType string   `json:"contentType,omitempty"`
	Bytes       int64    `json:"bytes,omitempty"`
	Title       string   `json:"title,omitempty"`
	Value       string   `json:"value,omitempty"`
	Latitude    *float64 `json:"latitude,omitempty"`
	Longitude   *float64 `json:"longitude,omitempty"`
}

func parts(raws []json.RawMessage) ([]channels.Part, error) {
	if len(raws) > maxParts {
		return nil, &fault{"parts", fmt.Sprintf("must hold at most %d parts", maxParts)}
	}
	var list []channels.Part
	for i, raw := range raws {
		p, err := readPart(raw)
		if f, ok := errors.AsType[*fault](err); ok {
			return nil, f.under(fmt.Sprintf("parts[%d]", i))
		}
		list = append(list, p)
	}
	return list, nil
}

func readPart(raw json.RawMessage) (channels.Part, error) {
	var w part
	if err := unmarshal(raw, &w); err != nil {
		// A type that we do not know may use our names for other things.
		if w.Type == "" || known(w.Type) {
			return channels.Part{}, err
		}
		w = part{Type: w.Type}
	}
	p := channels.Part{Type: channels.PartType(w.Type), Text: clean.Text(w.Text)}
	if _, media := p.Type.Media(); media {
		return readMedia(p, w)
	}
	switch p.Type {
	case "":
		return p, &fault{"type", "is required"}
	case channels.PartText:
		if w.Text == "" {
			return p, &fault{"text", "is required"}
		}
	case channels.PartLocation:
		return readLocation(p, w)
	case channels.PartLink, channels.PartCard:
		if !fetchable(w.URL) {
			return p, &fault{"url", "must be an http or https address"}
		}
		p.URL, p.Title = w.URL, clean.Line(w.Title, maxName)
	case channels.PartMenuReply:
		p.Value = clean.Line(w.Value, maxName)
	default:
		p.Type, p.Native = channels.PartUnsupported, clean.Line(w.Type, maxName)
	}
	return p, nil
}

func known(name string) bool {
	t := channels.PartType(name)
	switch t {
	case channels.PartText, channels.PartLocation, channels.PartLink, channels.PartCard, channels.PartMenuReply:
		return true
	}
	_, media := t.Media()
	return media
}

func readMedia(p channels.Part, w part) (channels.Part, error) {
	switch {
	case !fetchable(w.URL):
		return p, &fault{"url", "must be an http or https address"}
	case w.Bytes < 0:
		return p, &fault{"bytes", "must not be negative"}
	}
	kind, _ := p.Type.Media()
	p.Media = &channels.MediaRef{Kind: kind, URL: w.URL, Size: w.Bytes}
	if w.Name != "" {
		p.Media.Name = clean.FileName(w.Name)
	}
	p.Media.ContentType = mediaType(w.ContentType)
	return p, nil
}

// mediaType returns the bare type of a header; empty where it is none, since the
// bytes decide in the end.
func mediaType(header string) string {
	contentType, _, err := mime.ParseMediaType(header)
	if err != nil {
		return ""
	}
	return contentType
}

func readLocation(p channels.Part, w part) (channels.Part, error) {
	switch {
	case w.Latitude == nil || *w.Latitude < -90 || *w.Latitude > 90:
		return p, &fault{"latitude", "must be -90 to 90"}
	case w.Longitude == nil || *w.Longitude < -180 || *w.Longitude > 180:
		return p, &fault{"longitude", "must be -180 to 180"}
	}
	p.Location = &channels.Location{Latitude: *w.Latitude, Longitude: *w.Longitude, Label: clean.Line(w.Text, maxName)}
	return p, nil
}

// fetchable reports whether an address can be fetched or shown. Whether it may
// be is decided when it is: a message is not lost by a link to a forbidden host.
func fetchable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && len(address) <= maxURL && u.User == nil && u.Hostname() != "" &&
		(u.Scheme == "https" || u.Scheme == "http")
}

// recipients reads who was addressed; the bridge knows persons by its own ids.
func (d decoder) recipients(raws []json.RawMessage) ([]channels.Address, error) {
	if len(raws) > maxTo {
		return nil, &fault{"to", fmt.Sprintf("must hold at most %d persons", maxTo)}
	}
	var list []channels.Address
	for i, raw := range raws {
		var w party
		err := unmarshal(raw, &w)
		if err == nil && !address.ID(w.ID) {
			err = &fault{"id", badID}
		}
		if f, ok := errors.AsType[*fault](err); ok {
			return nil, f.under(fmt.Sprintf("to[%d]", i))
		}
		key := channels.IdentityKey{Kind: identityKind, Scope: channels.ScopeChannel, Value: w.ID, Level: channels.Claimed}
		list = append(list, channels.Address{IdentityKey: key, Name: clean.Line(w.Name, maxName), Own: slices.Contains(d.own, w.ID)})
	}
	return list, nil
}

// writePart makes the wire form of a part that is sent.
func writePart(p channels.Part) (part, error) {
	w := part{Type: string(p.Type), Text: p.Text, URL: p.URL, Title: p.Title, Value: p.Value}
	if _, media := p.Type.Media(); media {
		if p.Media == nil || p.Media.URL == "" {
			return w, fmt.Errorf("%s part has no address", p.Type)
		}
		w.URL, w.Name, w.ContentType, w.Bytes = p.Media.URL, p.Media.Name, p.Media.ContentType, p.Media.Size
	}
	if l := p.Location; l != nil {
		w.Latitude, w.Longitude = &l.Latitude, &l.Longitude
		if w.Text == "" {
			w.Text = l.Label
		}
	}
	return w, nil
}
