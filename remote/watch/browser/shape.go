package browser

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/hex"
	"errors"

	utls "github.com/refraction-networking/utls"
	"github.com/refraction-networking/utls/dicttls"
	"golang.org/x/crypto/cryptobyte"
)

// A Shape is the form of a hello. Whoever is on the way may treat one kind of client
// otherwise than another, so a watch needs them all.
type Shape string

// The shapes, each with the version that it was recorded from.
const (
	Chromium Shape = "chromium" // 156
	Firefox  Shape = "firefox"  // 153 ESR
	Program  Shape = "program"  // no browser: the hello of Go's TLS library
)

// Shapes returns all shapes.
func Shapes() []Shape { return []Shape{Chromium, Firefox, Program} }

// client returns a client whose hello has the shape. Its random parts, such as GREASE
// and the order of Chromium's extensions, are chosen for each connection.
func (s Shape) client(conn *tap, config *utls.Config) (*utls.UConn, error) {
	switch s {
	case Program:
		config.NextProtos = []string{"h2", "http/1.1"}
		return utls.UClient(conn, config, utls.HelloGolang), nil
	case Chromium:
		u := utls.UClient(conn, config, utls.HelloCustom)
		return u, u.ApplyPreset(chromium())
	case Firefox:
		u := utls.UClient(conn, config, utls.HelloCustom)
		return u, firefoxKeys(u, conn)
	}
	return nil, errors.New("there is no such shape")
}

// firefoxKeys shapes a hello as Firefox does, with its keys: other than Chromium it has
// one X25519 key for both shares.
func firefoxKeys(u *utls.UConn, conn *tap) error {
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	only, err := ecdh.X25519().NewPrivateKey(x25519.Bytes()) // the same, to be changed alone
	if err != nil {
		return err
	}
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	kem, err := mlkem.GenerateKey768()
	if err != nil {
		return err
	}
	public := x25519.PublicKey().Bytes()
	if err := u.ApplyPreset(firefox([]utls.KeyShare{
		{Group: utls.X25519MLKEM768, Data: append(kem.EncapsulationKey().Bytes(), public...)},
		{Group: utls.X25519, Data: public},
		{Group: utls.CurveP256, Data: p256.PublicKey().Bytes()},
	})); err != nil {
		return err
	}
	// The library has room for one key beside those of ML-KEM, and looks at it when it
	// knows what the server has chosen. It may have a copy of the struct by then, but not
	// of the key.
	u.HandshakeState.State13.KeyShareKeys = &utls.KeySharePrivateKeys{CurveID: utls.X25519, Ecdhe: only, Mlkem: kem, MlkemEcdhe: x25519}
	conn.agreed = func(group utls.CurveID) {
		if group == utls.CurveP256 {
			*only = *p256
		}
	}
	return nil
}

// extKeyShare is the extension key_share (RFC 8446, section 4.2.8).
const extKeyShare = 51

// shareOf returns the group whose share a ServerHello takes, by what is in it behind the
// cipher suite. It is 0 where it takes none, as one of TLS 1.2 does.
func shareOf(rest cryptobyte.String) (group utls.CurveID) {
	var extensions cryptobyte.String
	if !rest.Skip(1) || !rest.ReadUint16LengthPrefixed(&extensions) {
		return 0
	}
	for {
		var kind uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return 0
		}
		if kind == extKeyShare {
			_ = data.ReadUint16((*uint16)(&group)) // else the library refuses it
			return group
		}
	}
}

// extTrustAnchors is the extension trust_anchors (draft-ietf-tls-trust-anchor-ids), as
// Chromium numbers it.
const extTrustAnchors = 0xca34

// chromiumAnchors are the trust anchors that Chromium names, each with its length.
const chromiumAnchors = "0582df130201" + "0582df130206" + "0582df13020d" + "0582df13020e" + "0582df13020f" +
	"0582df130212" + "0582df130213" + "0582df130214" +
	"08839a648c9b2d0107" + "08839a648c9b2d0108" + "08839a648c9b2d0109" + "08839a648c9b2d010a" + "08839a648c9b2d010b" +
	"08839a648c9b2d010c" + "08839a648c9b2d010d" + "08839a648c9b2d0112" + "08839a648c9b2d0113" +
	"04d6790901" + "04d6790904" + "04d6790905" + "04d6790906" + "04d6790907" + "04d6790908" + "04d679090a" +
	"04d679090b" + "04d679090c" + "04d679090d" + "04d679090f"

// The signatures by ML-DSA (draft-ietf-tls-mldsa), which the TLS library does not
// know. A server that signs with one gets no further than its certificate.
const mldsa44, mldsa65, mldsa87 utls.SignatureScheme = 0x0904, 0x0905, 0x0906

// grease returns one of the reserved values (RFC 8701).
func grease() uint16 {
	var b [1]byte
	_, _ = rand.Read(b[:]) // it never fails
	return 0x0a0a + 0x1010*uint16(b[0]&15)
}

func chromium() *utls.ClientHelloSpec {
	anchors, _ := hex.DecodeString(chromiumAnchors)
	return &utls.ClientHelloSpec{
		TLSVersMin: utls.VersionTLS12,
		TLSVersMax: utls.VersionTLS13,
		CipherSuites: []uint16{
			utls.GREASE_PLACEHOLDER,
			utls.TLS_AES_128_GCM_SHA256, utls.TLS_AES_256_GCM_SHA384, utls.TLS_CHACHA20_POLY1305_SHA256,
			utls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, utls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			utls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, utls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			utls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, utls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,
			utls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, utls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
			utls.TLS_RSA_WITH_AES_128_GCM_SHA256, utls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			utls.TLS_RSA_WITH_AES_128_CBC_SHA, utls.TLS_RSA_WITH_AES_256_CBC_SHA,
		},
		CompressionMethods: []byte{0},
		Extensions: utls.ShuffleChromeTLSExtensions([]utls.TLSExtension{
			&utls.UtlsGREASEExtension{},
			&utls.SNIExtension{},
			&utls.ExtendedMasterSecretExtension{},
			&utls.RenegotiationInfoExtension{Renegotiation: utls.RenegotiateNever},
			&utls.SupportedCurvesExtension{Curves: []utls.CurveID{utls.GREASE_PLACEHOLDER, utls.X25519MLKEM768, utls.X25519, utls.CurveP256, utls.CurveP384}},
			&utls.SupportedPointsExtension{SupportedPoints: []byte{0}},
			&utls.SessionTicketExtension{},
			&utls.ALPNExtension{AlpnProtocols: []string{"h2", "http/1.1"}},
			&utls.StatusRequestExtension{},
			&utls.SignatureAlgorithmsExtension{SupportedSignatureAlgorithms: []utls.SignatureScheme{
				utls.SignatureScheme(grease()), mldsa44, mldsa65, mldsa87,
				utls.ECDSAWithP256AndSHA256, utls.PSSWithSHA256, utls.PKCS1WithSHA256,
				utls.ECDSAWithP384AndSHA384, utls.PSSWithSHA384, utls.PKCS1WithSHA384,
				utls.PSSWithSHA512, utls.PKCS1WithSHA512,
			}},
			&utls.SCTExtension{},
			&utls.KeyShareExtension{KeyShares: []utls.KeyShare{
				{Group: utls.CurveID(utls.GREASE_PLACEHOLDER), Data: []byte{0}}, {Group: utls.X25519MLKEM768}, {Group: utls.X25519},
			}},
			&utls.PSKKeyExchangeModesExtension{Modes: []uint8{utls.PskModeDHE}},
			&utls.SupportedVersionsExtension{Versions: []uint16{utls.GREASE_PLACEHOLDER, utls.VersionTLS13, utls.VersionTLS12}},
			&utls.UtlsCompressCertExtension{Algorithms: []utls.CertCompressionAlgo{utls.CertCompressionBrotli}},
			&utls.ApplicationSettingsExtensionNew{SupportedProtocols: []string{"h2"}},
			&utls.GenericExtension{Id: extTrustAnchors, Data: append([]byte{0, byte(len(anchors))}, anchors...)},
			utls.BoringGREASEECH(),
			&utls.UtlsGREASEExtension{},
		}),
	}
}

func firefox(shares []utls.KeyShare) *utls.ClientHelloSpec {
	return &utls.ClientHelloSpec{
		TLSVersMin: utls.VersionTLS12,
		TLSVersMax: utls.VersionTLS13,
		CipherSuites: []uint16{
			utls.TLS_AES_128_GCM_SHA256, utls.TLS_CHACHA20_POLY1305_SHA256, utls.TLS_AES_256_GCM_SHA384,
			utls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, utls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			utls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, utls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,
			utls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, utls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			utls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
			utls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, utls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
			utls.TLS_RSA_WITH_AES_128_GCM_SHA256, utls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			utls.TLS_RSA_WITH_AES_128_CBC_SHA, utls.TLS_RSA_WITH_AES_256_CBC_SHA,
		},
		CompressionMethods: []byte{0},
		Extensions: []utls.TLSExtension{
			&utls.SNIExtension{},
			&utls.ExtendedMasterSecretExtension{},
			&utls.RenegotiationInfoExtension{Renegotiation: utls.RenegotiateNever},
			&utls.SupportedCurvesExtension{Curves: []utls.CurveID{
				utls.X25519MLKEM768, utls.X25519, utls.CurveP256, utls.CurveP384, utls.CurveP521, utls.FakeCurveFFDHE2048, utls.FakeCurveFFDHE3072,
			}},
			&utls.SupportedPointsExtension{SupportedPoints: []uint8{0}},
			&utls.SessionTicketExtension{},
			&utls.ALPNExtension{AlpnProtocols: []string{"h2", "http/1.1"}},
			&utls.StatusRequestExtension{},
			&utls.FakeDelegatedCredentialsExtension{SupportedSignatureAlgorithms: []utls.SignatureScheme{
				utls.ECDSAWithP256AndSHA256, utls.ECDSAWithP384AndSHA384, utls.ECDSAWithP521AndSHA512, utls.ECDSAWithSHA1,
			}},
			&utls.SCTExtension{},
			&utls.KeyShareExtension{KeyShares: shares},
			&utls.SupportedVersionsExtension{Versions: []uint16{utls.VersionTLS13, utls.VersionTLS12}},
			&utls.SignatureAlgorithmsExtension{SupportedSignatureAlgorithms: []utls.SignatureScheme{
				utls.ECDSAWithP256AndSHA256, utls.ECDSAWithP384AndSHA384, utls.ECDSAWithP521AndSHA512,
				utls.PSSWithSHA256, utls.PSSWithSHA384, utls.PSSWithSHA512,
				utls.PKCS1WithSHA256, utls.PKCS1WithSHA384, utls.PKCS1WithSHA512,
				utls.ECDSAWithSHA1, utls.PKCS1WithSHA1,
			}},
			&utls.PSKKeyExchangeModesExtension{Modes: []uint8{utls.PskModeDHE}},
			&utls.FakeRecordSizeLimitExtension{Limit: 0x4001},
			&utls.UtlsCompressCertExtension{Algorithms: []utls.CertCompressionAlgo{utls.CertCompressionZlib, utls.CertCompressionBrotli, utls.CertCompressionZstd}},
			&utls.GREASEEncryptedClientHelloExtension{
				CandidateCipherSuites: []utls.HPKESymmetricCipherSuite{
					{KdfId: dicttls.HKDF_SHA256, AeadId: dicttls.AEAD_AES_128_GCM},
					{KdfId: dicttls.HKDF_SHA256, AeadId: dicttls.AEAD_CHACHA20_POLY1305},
				},
				CandidatePayloadLens: []uint16{223}, // and 16 of the tag
			},
		},
	}
}
