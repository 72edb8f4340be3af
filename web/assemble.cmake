# Joins the page's parts to the one file that the program carries: -DSOURCE=web -DOUTPUT=page.html.
# There is nothing to install: neither the parts nor this need more than CMake.
file(READ ${SOURCE}/index.html page)
foreach(part page.css base.js markdown.js chat.js machine.js fleet.js page.js)
  file(READ ${SOURCE}/${part} text)
  string(REPLACE "/*{{${part}}}*/" "${text}" page "${page}")
endforeach()
file(WRITE ${OUTPUT} "${page}")
