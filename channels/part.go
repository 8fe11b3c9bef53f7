package channels

import "time"

// PartType says what a part of a message is.
type PartType string

// The part types. A provider's type that we do not know is PartUnsupported.
const (
	PartText        PartType = "text"
	PartImage       PartType = "image"
	PartVoice       PartType = "voice"
	PartVideo       PartType = "video"
	PartFile        PartType = "file"
	PartLocation    PartType = "location"
	PartLink        PartType = "link"
	PartCard        PartType = "card"
	PartMenuReply   PartType = "menu_reply"
	PartUnsupported PartType = "unsupported"
)

// Media returns the media kind of an image, voice, video or file part.
func (p PartType) Media() (MediaKind, bool) {
	switch p {
	case PartImage:
		return MediaImage, true
	case PartVoice:
		return MediaVoice, true
	case PartVideo:
		return MediaVideo, true
	case PartFile:
		return MediaFile, true
	}
	return "", false
}

// Part is one piece of a message, in the order in which the sender put them.
// Which fields are set follows from Type.
type Part struct {
	Type PartType `json:"type"`
	// Text is the text of a text or menu reply part, and the caption or the
	// best plain rendering of every other.
	Text string `json:"text,omitempty"`
	// Media is set in image, voice, video and file parts.
	Media *MediaRef `json:"media,omitempty"`
	// Location is set in location parts.
	Location *Location `json:"location,omitempty"`
	// URL and Title are set in link and card parts.
	URL   string `json:"url,omitempty"`
	Title string `json:"title,omitempty"`
	// Value is the machine value of a menu reply.
	Value string `json:"value,omitempty"`
	// Native is the provider's name of an unsupported type.
	Native string `json:"native,omitempty"`
}

// Location is a place; degrees WGS 84.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Label     string  `json:"label,omitempty"`
}

// MediaKind is the sort of an attachment.
type MediaKind string

// The media kinds.
const (
	MediaImage MediaKind = "image"
	MediaVoice MediaKind = "voice"
	MediaVideo MediaKind = "video"
	MediaFile  MediaKind = "file"
)

// MediaRef points at an attachment. Inbound, it is the provider's reference,
// fetched by a worker and never inside the webhook; outbound, it is an address
// of ours that the provider may fetch, and the key of the same bytes in the
// file store.
type MediaRef struct {
	Kind MediaKind `json:"kind"`
	// Ref is the provider's opaque reference (a media id).
	Ref string `json:"ref,omitempty"`
	// URL is where the bytes can be fetched, where that is public or signed.
	URL string `json:"url,omitempty"`
	// Blob is the key in Host.Blob: of outbound media, and of inbound media
	// that came with the event itself.
	Blob string `json:"blob,omitempty"`
	// ContentID is how the event's HTML names it, without brackets; empty where
	// it does not.
	ContentID string `json:"contentId,omitempty"`
	// Name is a clean file name, without a path.
	Name string `json:"name,omitempty"`
	// ContentType is what the sender says; the bytes decide.
	ContentType string `json:"contentType,omitempty"`
	// Size is what the sender says, in bytes; 0 when unknown.
	Size int64 `json:"size,omitempty"`
	// ExpiresAt is when the provider forgets it; zero: never.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}
