package draft_test

// example is a curl command in the form of a vendor's documentation, with made-up values, and what it
// authenticates with: "Name: value" for a header, and "?name=value" for a query parameter.
type example struct {
	name, command string
	want          []string
}

var examples = []example{
	{"sendgrid", `curl -X "GET" "https://api.sendgrid.com/v3/templates" -H "Authorization: Bearer SG.n0tAk3y-1.zZ" -H "Content-Type: application/json"`,
		[]string{"Authorization: Bearer SG.n0tAk3y-1.zZ"}},
	{"stripe", `curl https://api.stripe.com/v1/charges -u sk_test_4eC39HqLyjWDarjtT1:`,
		[]string{"Authorization: Basic c2tfdGVzdF80ZUMzOUhxTHlqV0Rhcmp0VDE6"}},
	{"twilio", `curl -X POST "https://api.twilio.com/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json" \
  --data-urlencode "To=+15558675310" --data-urlencode "Body=Hi there" \
  -u AC0123456789abcdef0123456789abcdef:0a1b2c3d4e5f`,
		[]string{"Authorization: Basic QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjowYTFiMmMzZDRlNWY="}},
	{"mailgun", `curl -s --user 'api:key-1a2b3c4d' https://api.mailgun.net/v3/mg.example.com/messages -F from='A <a@mg.example.com>' -F to=b@example.com -F subject='Hello' -F text='Hi'`,
		[]string{"Authorization: Basic YXBpOmtleS0xYTJiM2M0ZA=="}},
	{"postmark", `curl "https://api.postmarkapp.com/email" \
  -X POST \
  -H "Accept: application/json" \
  -H "Content-Type: application/json" \
  -H "X-Postmark-Server-Token: 5f7c1a2e-server" \
  -d '{"From": "sender@example.com", "To": "receiver@example.com"}'`,
		[]string{"X-Postmark-Server-Token: 5f7c1a2e-server"}},
	{"slack", `curl -X POST -H 'Authorization: Bearer xoxb-1234-56789-abc' -H 'Content-type: application/json; charset=utf-8' --data '{"channel":"C123456","text":"Hi"}' https://slack.com/api/chat.postMessage`,
		[]string{"Authorization: Bearer xoxb-1234-56789-abc"}},
	{"github", `curl -L \
  -H "Accept: application/vnd.github+json" \
  -H "Authorization: Bearer ghp_16C7e42F292c69" \
  -H "X-GitHub-Api-Version: 2022-11-28" \
  https://api.github.com/user`,
		[]string{"Authorization: Bearer ghp_16C7e42F292c69", "X-GitHub-Api-Version: 2022-11-28"}},
	{"gitlab", `curl --request GET --header "PRIVATE-TOKEN: glpat-9koXpg98eAheJpvBs5tK" --url "https://gitlab.example.com/api/v4/projects?per_page=2"`,
		[]string{"PRIVATE-TOKEN: glpat-9koXpg98eAheJpvBs5tK"}},
	{"pagerduty", `curl --request GET --url https://api.pagerduty.com/abilities --header 'Accept: application/json' --header 'Authorization: Token token=y_NbAkKc66ryYTWUXYEu'`,
		[]string{"Authorization: Token token=y_NbAkKc66ryYTWUXYEu"}},
	{"pagerduty-quoted", `curl --request GET --url https://api.pagerduty.com/abilities --header 'Authorization: Token token="y_NbAk/Kc+66=="'`,
		[]string{`Authorization: Token token="y_NbAk/Kc+66=="`}},
	{"datadog", `curl -X GET "https://api.datadoghq.com/api/v1/validate" -H "Accept: application/json" -H "DD-API-KEY: 9775a026f1ca7d1c6c5af9d94d9595a4" -H "DD-APPLICATION-KEY: 87ce4a24b5553d2e"`,
		[]string{"DD-API-KEY: 9775a026f1ca7d1c6c5af9d94d9595a4", "DD-APPLICATION-KEY: 87ce4a24b5553d2e"}},
	{"zendesk", `curl https://acme.zendesk.com/api/v2/users/me.json -v -u jdoe@example.com/token:6wiIBWbGkBMo1mRDMuVwkw1EPsNkeUj95PIz2akv`,
		[]string{"Authorization: Basic amRvZUBleGFtcGxlLmNvbS90b2tlbjo2d2lJQldiR2tCTW8xbVJETXVWd2t3MUVQc05rZVVqOTVQSXoyYWt2"}},
	{"jira", `curl -D- -u fred@example.com:ATATT3xFfGF0 -X GET -H "Content-Type: application/json" https://your-domain.atlassian.net/rest/api/3/myself`,
		[]string{"Authorization: Basic ZnJlZEBleGFtcGxlLmNvbTpBVEFUVDN4RmZHRjA="}},
	{"freshdesk", `curl -v -u yourapikey:X -H "Content-Type: application/json" -X GET 'https://domain.freshdesk.com/api/v2/tickets'`,
		[]string{"Authorization: Basic eW91cmFwaWtleTpY"}},
	{"toggl", `curl -u 1971800d4d82861d8f2c1651fea4d212:api_token -X GET https://api.track.toggl.com/api/v9/me`,
		[]string{"Authorization: Basic MTk3MTgwMGQ0ZDgyODYxZDhmMmMxNjUxZmVhNGQyMTI6YXBpX3Rva2Vu"}},
	{"hubspot", `curl --request GET \
  --url 'https://api.hubapi.com/crm/v3/objects/contacts?limit=10&archived=false' \
  --header 'authorization: Bearer pat-na1-0000-secret'`,
		[]string{"Authorization: Bearer pat-na1-0000-secret"}},
	{"intercom", `curl https://api.intercom.io/me -H 'Authorization:Bearer dG9rOjEyMw' -H 'Intercom-Version: 2.11' -H 'Accept:application/json'`,
		[]string{"Authorization: Bearer dG9rOjEyMw", "Intercom-Version: 2.11"}},
	{"pipedrive", `curl -X GET 'https://acme.pipedrive.com/api/v1/users/me?api_token=3f1d0bead0beef'`,
		[]string{"?api_token=3f1d0bead0beef"}},
	{"cloudflare", `curl https://api.cloudflare.com/client/v4/user --header "X-Auth-Email: user@example.com" --header "X-Auth-Key: c2547eb745079dac9320b638f5e225cf483cc5cfdda41"`,
		[]string{"X-Auth-Key: c2547eb745079dac9320b638f5e225cf483cc5cfdda41", "X-Auth-Email: user@example.com"}},
	{"anthropic", `curl https://api.anthropic.com/v1/models -H 'x-api-key: sk-ant-made-up' -H 'anthropic-version: 2023-06-01'`,
		[]string{"x-api-key: sk-ant-made-up", "anthropic-version: 2023-06-01"}},
	{"openai", `curl https://api.openai.com/v1/models -H "Authorization: Bearer sk-proj-made-up" -H "OpenAI-Organization: org-1a2b3c"`,
		[]string{"Authorization: Bearer sk-proj-made-up", "OpenAI-Organization: org-1a2b3c"}},
	{"gemini", `curl "https://generativelanguage.googleapis.com/v1beta/models?key=AIzaSyMadeUp"`,
		[]string{"?key=AIzaSyMadeUp"}},
	{"gemini-header", `curl "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.0-flash:generateContent" -H 'Content-Type: application/json' -H "x-goog-api-key: AIzaSyMadeUp" -X POST -d '{"contents": [{"parts": [{"text": "Hi"}]}]}'`,
		[]string{"x-goog-api-key: AIzaSyMadeUp"}},
	{"virustotal", `curl --request GET --url https://www.virustotal.com/api/v3/domains/example.com --header 'x-apikey: 4f3c2b1a'`,
		[]string{"x-apikey: 4f3c2b1a"}},
	{"abuseipdb", `curl -G https://api.abuseipdb.com/api/v2/check \
  --data-urlencode "ipAddress=118.25.6.39" \
  -d maxAgeInDays=90 \
  -d verbose \
  -H "Key: 1234abcd5678" \
  -H "Accept: application/json"`,
		[]string{"Key: 1234abcd5678"}},
	{"greynoise", `curl --request GET --url https://api.greynoise.io/ping --header 'accept: application/json' --header 'key: gn-made-up-1'`,
		[]string{"key: gn-made-up-1"}},
	{"shodan", `curl -X GET "https://api.shodan.io/api-info?key=MM72AkzHXdHpC8iP65VVEEVrJjp7zkgd"`,
		[]string{"?key=MM72AkzHXdHpC8iP65VVEEVrJjp7zkgd"}},
	{"otx", `curl https://otx.alienvault.com/api/v1/users/me -H "X-OTX-API-KEY: 8e03f8a3"`,
		[]string{"X-OTX-API-KEY: 8e03f8a3"}},
	{"pulsedive", `curl -G https://pulsedive.com/api/info.php -d "indicator=pulsedive.com" --data-urlencode "key=k3y with space&more"`,
		[]string{"?key=k3y with space&more"}},
	{"pendo", `curl -X GET https://app.pendo.io/api/v1/feature -H 'content-type: application/json' -H 'x-pendo-integration-key: 3f1d7e54.us'`,
		[]string{"x-pendo-integration-key: 3f1d7e54.us"}},
	{"spotdraft", `curl --location 'https://api.in.spotdraft.com/api/v2.1/public/contract_types/' --header 'client-id: cid_77' --header 'client-secret: cs_99x' --header 'user-email: legal@example.com'`,
		[]string{"client-secret: cs_99x", "client-id: cid_77", "user-email: legal@example.com"}},
	{"okta", `curl -X GET -H "Accept: application/json" -H "Authorization: SSWS 00QCjAl4MlV-WPXM" "https://acme.okta.com/api/v1/users/me"`,
		[]string{"Authorization: SSWS 00QCjAl4MlV-WPXM"}},
	{"opsgenie", `curl -X GET 'https://api.opsgenie.com/v2/alerts?limit=1' --header 'Authorization: GenieKey eb243592-faa2'`,
		[]string{"Authorization: GenieKey eb243592-faa2"}},
	{"klaviyo", `curl --request GET --url https://a.klaviyo.com/api/accounts/ --header 'Authorization: Klaviyo-API-Key pk_made_up' --header 'revision: 2024-10-15'`,
		[]string{"Authorization: Klaviyo-API-Key pk_made_up", "revision: 2024-10-15"}},
	{"deepl", `curl -X POST 'https://api-free.deepl.com/v2/translate' --header 'Authorization: DeepL-Auth-Key f63c02c5:fx' --header 'Content-Type: application/json' --data '{"text": ["Hi"], "target_lang": "DE"}'`,
		[]string{"Authorization: DeepL-Auth-Key f63c02c5:fx"}},
	{"trello", `curl 'https://api.trello.com/1/members/me/boards?fields=name,url&key=0471642aef&token=ATTA5c0e'`,
		[]string{"?key=0471642aef", "?token=ATTA5c0e"}},
	{"azure-devops", `curl -u :7t3kmadeup "https://dev.azure.com/acme/_apis/projects?api-version=7.1"`,
		[]string{"Authorization: Basic Ojd0M2ttYWRldXA="}},
	{"shopify", `curl -X GET "https://acme.myshopify.com/admin/api/2024-10/shop.json" -H "X-Shopify-Access-Token: shpat_1"`,
		[]string{"X-Shopify-Access-Token: shpat_1"}},
	{"algolia", `curl -H "X-Algolia-API-Key: 02e4f1" -H "X-Algolia-Application-Id: APP1" 'https://APP1-dsn.algolia.net/1/indexes/'`,
		[]string{"X-Algolia-API-Key: 02e4f1", "X-Algolia-Application-Id: APP1"}},
	{"notion", `curl 'https://api.notion.com/v1/users/me' -H 'Authorization: Bearer ntn_1' -H 'Notion-Version: 2022-06-28'`,
		[]string{"Authorization: Bearer ntn_1", "Notion-Version: 2022-06-28"}},
	{"openweather", `curl "https://api.openweathermap.org/data/2.5/weather?q=London&appid=b6907d28"`,
		[]string{"?appid=b6907d28"}},
	{"edamam", `curl "https://api.edamam.com/api/nutrition-data?app_id=900da95e&app_key=40698503668e&ingr=1%20large%20apple"`,
		[]string{"?app_key=40698503668e", "?app_id=900da95e"}},
	{"vault", `curl -H "X-Vault-Token: hvs.made" https://127.0.0.1:8200/v1/auth/token/lookup-self`,
		[]string{"X-Vault-Token: hvs.made"}},
	{"tenable", `curl -H "X-ApiKeys: accessKey=ab; secretKey=cd;" https://cloud.tenable.com/session`,
		[]string{"X-ApiKeys: accessKey=ab; secretKey=cd;"}},
	{"godaddy", `curl -X GET -H "Authorization: sso-key UzQxLikm_46KxDFnbjN7cQjmw6wocia:46L26ydpkwMaKZV6uVdDWe" "https://api.godaddy.com/v1/domains/available?domain=example.guru"`,
		[]string{"Authorization: sso-key UzQxLikm_46KxDFnbjN7cQjmw6wocia:46L26ydpkwMaKZV6uVdDWe"}},
	{"whole-header", `curl https://api.linear.app/graphql -H "Authorization: lin_api_k3y" -X POST --json '{ "query": "{ viewer { id } }" }'`,
		[]string{"Authorization: lin_api_k3y"}},
	{"unknown-scheme", `curl https://api.example.com/v1/x -H "Authorization: Xyzzy plugh"`,
		[]string{"Authorization: Xyzzy plugh"}},
	{"basic-header", `curl -sS https://api.example.co.uk/v1/x --header 'Authorization: Basic dXNlcjpwYSQkOndvcmQ='`,
		[]string{"Authorization: Basic dXNlcjpwYSQkOndvcmQ="}},
	{"userinfo", `curl https://key_1:sec_2@api.example.com/v1/x`,
		[]string{"Authorization: Basic a2V5XzE6c2VjXzI="}},
	{"chrome", `curl 'https://api.example.com/v2/me' \
  -H 'accept: */*' \
  -H $'authorization: Bearer it\'s\u0021' \
  -H 'sec-fetch-mode: cors' \
  -H 'user-agent: Mozilla/5.0' \
  -b 'theme=dark' \
  --compressed`,
		[]string{"Authorization: Bearer it's!"}},
	{"variables", `API_KEY=abc
$ curl -sSH"X-Api-Key: $API_KEY" https://api.example.com/v1/me?verbose=1 | jq '.name'`,
		[]string{"X-Api-Key: $API_KEY"}},
	{"bearer-option", `curl --oauth2-bearer tok_1 https://api.example.com`,
		[]string{"Authorization: Bearer tok_1"}},
	{"cookie", `curl -b 'session=s3ss10n' https://api.example.com/me`,
		[]string{"Cookie: session=s3ss10n"}},
}
