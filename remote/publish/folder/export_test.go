package folder

// What tests hit.
const (
	MaxLong     = maxLong
	MaxLongEach = maxLongEach
)

// Meanwhile has this happen between each step of a request and the next one.
func (f *Folder) Meanwhile(do func()) { f.meanwhile = do }
