package folder

// What tests hit.
const (
	MaxLong     = maxLong
	MaxLongEach = maxLongEach
)
