package folder

import (
	"path"
	"strings"
)

// contentType is the media type of a file by the end of its name. It is not the
// machine's own table that says so, so that a site is the same on each machine, and
// never the content of the file: one that a stranger has put there must not become a
// page.
func contentType(name string) string {
	if t, ok := types[extension(name)]; ok {
		return t
	}
	return "application/octet-stream"
}

// isKnownKind reports whether a name ends like a kind of file in the table.
func isKnownKind(name string) bool {
	_, ok := types[extension(name)]
	return ok
}

// extension is the end of a name in lower case, without its dot.
func extension(name string) string { return strings.ToLower(strings.TrimPrefix(path.Ext(name), ".")) }

// types are the media types of the kinds of files that people put on the web, by
// extension. Text is UTF-8.
var types = map[string]string{
	"html":        "text/html; charset=utf-8",
	"htm":         "text/html; charset=utf-8",
	"xhtml":       "application/xhtml+xml",
	"css":         "text/css; charset=utf-8",
	"js":          "text/javascript; charset=utf-8",
	"mjs":         "text/javascript; charset=utf-8",
	"cjs":         "text/javascript; charset=utf-8",
	"txt":         "text/plain; charset=utf-8",
	"text":        "text/plain; charset=utf-8",
	"log":         "text/plain; charset=utf-8",
	"conf":        "text/plain; charset=utf-8",
	"ini":         "text/plain; charset=utf-8",
	"md":          "text/markdown; charset=utf-8",
	"markdown":    "text/markdown; charset=utf-8",
	"csv":         "text/csv; charset=utf-8",
	"tsv":         "text/tab-separated-values; charset=utf-8",
	"vtt":         "text/vtt; charset=utf-8",
	"ics":         "text/calendar; charset=utf-8",
	"vcf":         "text/vcard; charset=utf-8",
	"json":        "application/json",
	"map":         "application/json",
	"jsonld":      "application/ld+json",
	"geojson":     "application/geo+json",
	"ndjson":      "application/x-ndjson",
	"jsonl":       "application/x-ndjson",
	"webmanifest": "application/manifest+json",
	"xml":         "text/xml; charset=utf-8",
	"xsl":         "text/xml; charset=utf-8",
	"xsd":         "text/xml; charset=utf-8",
	"rss":         "application/rss+xml",
	"atom":        "application/atom+xml",
	"yaml":        "application/yaml",
	"yml":         "application/yaml",
	"toml":        "application/toml",
	"gpx":         "application/gpx+xml",
	"kml":         "application/vnd.google-earth.kml+xml",
	"svg":         "image/svg+xml",

	"png":     "image/png",
	"apng":    "image/apng",
	"jpg":     "image/jpeg",
	"jpeg":    "image/jpeg",
	"jfif":    "image/jpeg",
	"gif":     "image/gif",
	"webp":    "image/webp",
	"avif":    "image/avif",
	"jxl":     "image/jxl",
	"heic":    "image/heic",
	"heif":    "image/heif",
	"ico":     "image/x-icon",
	"cur":     "image/x-icon",
	"bmp":     "image/bmp",
	"tif":     "image/tiff",
	"tiff":    "image/tiff",
	"woff":    "font/woff",
	"woff2":   "font/woff2",
	"ttf":     "font/ttf",
	"otf":     "font/otf",
	"ttc":     "font/collection",
	"eot":     "application/vnd.ms-fontobject",
	"mp3":     "audio/mpeg",
	"m4a":     "audio/mp4",
	"aac":     "audio/aac",
	"oga":     "audio/ogg",
	"ogg":     "audio/ogg",
	"opus":    "audio/ogg",
	"wav":     "audio/wav",
	"flac":    "audio/flac",
	"mid":     "audio/midi",
	"midi":    "audio/midi",
	"weba":    "audio/webm",
	"mp4":     "video/mp4",
	"m4v":     "video/mp4",
	"webm":    "video/webm",
	"ogv":     "video/ogg",
	"mov":     "video/quicktime",
	"avi":     "video/x-msvideo",
	"mkv":     "video/x-matroska",
	"ts":      "video/mp2t",
	"m2ts":    "video/mp2t",
	"m3u8":    "application/vnd.apple.mpegurl",
	"mpd":     "application/dash+xml",
	"pdf":     "application/pdf",
	"wasm":    "application/wasm",
	"zip":     "application/zip",
	"gz":      "application/gzip",
	"tgz":     "application/gzip",
	"bz2":     "application/x-bzip2",
	"xz":      "application/x-xz",
	"txz":     "application/x-xz",
	"zst":     "application/zstd",
	"br":      "application/x-brotli",
	"7z":      "application/x-7z-compressed",
	"rar":     "application/vnd.rar",
	"tar":     "application/x-tar",
	"iso":     "application/x-iso9660-image",
	"deb":     "application/vnd.debian.binary-package",
	"rpm":     "application/x-rpm",
	"apk":     "application/vnd.android.package-archive",
	"jar":     "application/java-archive",
	"epub":    "application/epub+zip",
	"rtf":     "application/rtf",
	"torrent": "application/x-bittorrent",
	"sqlite":  "application/vnd.sqlite3",
	"bin":     "application/octet-stream",
	"exe":     "application/octet-stream",
	"dmg":     "application/octet-stream",
	"img":     "application/octet-stream",
	"crt":     "application/pkix-cert",
	"cer":     "application/pkix-cert",
	"der":     "application/pkix-cert",
	"pem":     "application/x-pem-file",
	"doc":     "application/msword",
	"xls":     "application/vnd.ms-excel",
	"ppt":     "application/vnd.ms-powerpoint",
	"docx":    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx":    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"pptx":    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"odt":     "application/vnd.oasis.opendocument.text",
	"ods":     "application/vnd.oasis.opendocument.spreadsheet",
	"odp":     "application/vnd.oasis.opendocument.presentation",
	"glb":     "model/gltf-binary",
	"gltf":    "model/gltf+json",
	"stl":     "model/stl",
	"obj":     "model/obj",
}
