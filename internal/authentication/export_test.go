package authentication

// CertificateName returns the caller's name in a certificate, without verifying the certificate.
var CertificateName = certificateName

// MaxAge returns how long an answer with keys may be used by its headers.
var MaxAge = maxAge
