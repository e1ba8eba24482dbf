package authentication

var CertificateName = certificateName

var MaxAge = maxAge
